"""What both automatic learning rates share: the step tried at several rates, exactly undone.

The optimizer advances once a step. Its step per unit of rate is read off the step itself, u = (w −
w′)/η, so a probe costs forward passes alone and Adam's moments stay honest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from unlearn.compute.sharding import local
from unlearn.options.beside import Beside
from unlearn.schedulers.base import Losses, Rate, Scheduler, set_rate


class Line:
    """The parameters on the line w − x·u through the step that the optimizer took.

    Two copies of the weights are kept while probing; by then both gradients are freed, so the peak
    memory of a step stays what it is. `move` to 0 and to the unit give both copies back bit by bit.
    """

    def __init__(self, optimizer: Optimizer, parameters: Sequence[Parameter], unit: float) -> None:
        self.unit = unit
        self.weights = [local(parameter.detach()) for parameter in parameters]  # shared memory
        self.start = [weight.clone() for weight in self.weights]
        set_rate(optimizer, unit)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.end = [weight.clone() for weight in self.weights]

    @torch.no_grad()
    def move(self, x: float) -> None:
        """Put the parameters at w − x·u."""
        for weight, start, end in zip(self.weights, self.start, self.end, strict=True):
            if x == 0:  # the line does not lead back to the last bit, nor from an infinite end
                weight.copy_(start)
            elif x == self.unit:
                weight.copy_(end)
            else:
                torch.lerp(start, end, x / self.unit, out=weight)


class Probing(Scheduler):
    """Takes the optimizer's step once and moves along it, to the rate that the probes gave."""

    def problems_beside(self, method: Beside) -> list[str]:
        if not method.rounds:
            return []
        return [
            "compares losses along the step, of which bfloat16 weights leave only rounding; use "
            "scheduler=cosine with an optimizer.lr of your own, model/adapter=lora, or "
            "model.dtype=float32"
        ]

    def probes(self, number: int) -> bool:
        """Return whether step `number`, counted from 0, is probed."""
        raise NotImplementedError

    def unit(self, number: int) -> float:
        """Return the rate at which the optimizer takes the step that is probed."""
        raise NotImplementedError

    def probed_rate(self, number: int, line: Line, losses: Losses) -> Rate:
        """Return the undecayed rate after probing step `number` along the line."""
        raise NotImplementedError

    def decayed(self, number: int) -> float:
        """Return what the rate is multiplied by at step `number`."""
        return 1.0

    def rate(self, number: int) -> float:
        return self.lr * self.decayed(number)

    def step(
        self,
        number: int,
        optimizer: Optimizer,
        parameters: Sequence[Parameter],
        losses: Losses,
    ) -> Rate:
        if not self.probes(number):
            return super().step(number, optimizer, parameters, losses)
        line = Line(optimizer, parameters, self.unit(number))
        rate = self.probed_rate(number, line, losses)
        self.lr = rate.lr
        line.move(self.rate(number) if rate.taken else 0.0)
        return replace(rate, lr=self.rate(number))


def direction_of(new: float, old: float) -> str:
    """Return how a rate moved, for the record."""
    return "rose" if new > old else "fell" if new < old else "kept"
