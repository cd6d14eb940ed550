"""What both automatic learning rates share: the loss probed along the step, exactly undone.

Generalized Newton: Bu & Xu, *Automatic gradient descent with generalized Newton's method*, ICLR
2025, arXiv 2407.02772; used for unlearning by NGDiff (arXiv 2410.22086). Where both of ours deviate
from the authors' code, and why:
- the optimizer advances once a step. u is read off the step itself, (w − w′)/η, so a probe costs
  two forward passes and Adam's moments stay honest (theirs advance a second time);
- L₀, L₊, L₋ are over the whole logical batch (theirs: the first micro-batch);
- no R² gate, which says nothing with three points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from unlearn.schedulers.base import Rate, Scheduler, set_rate
from unlearn.schedulers.parabola import Parabola, fit


class Line:
    """The parameters on the line w − x·u through the step that the optimizer took.

    Two copies of the weights are kept while probing; by then both gradients are freed, so the peak
    memory of a step stays what it is. `move` to 0 and to the unit give both copies back bit by bit.
    """

    def __init__(self, optimizer: Optimizer, parameters: Sequence[Parameter], unit: float) -> None:
        self.parameters, self.unit = parameters, unit
        self.start = [p.detach().clone() for p in parameters]
        set_rate(optimizer, unit)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.end = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def move(self, x: float) -> None:
        """Put the parameters at w − x·u."""
        for parameter, start, end in zip(self.parameters, self.start, self.end, strict=True):
            if x == 0:  # the line does not lead back to the last bit, nor from an infinite end
                parameter.copy_(start)
            elif x == self.unit:
                parameter.copy_(end)
            else:
                torch.lerp(start, end, x / self.unit, out=parameter.data)


class Probe:
    """Evaluates the loss on the line and fits the parabola."""

    def __init__(self, line: Line, loss: Callable[[], float], here: float) -> None:
        self.line, self.loss, self.here = line, loss, here

    def __call__(self, rate: float) -> Parabola:
        """Probe on both sides, at `rate` and −`rate`."""
        ahead, before = self._loss_at(rate), self._loss_at(-rate)
        return fit(before, self.here, ahead, rate)

    def _loss_at(self, x: float) -> float:
        self.line.move(x)
        return self.loss()


class Probing(Scheduler):
    """Takes the optimizer's step once and moves along it, to the rate that the probes gave."""

    def probes(self, number: int) -> bool:
        """Return whether step `number`, counted from 0, is probed."""
        raise NotImplementedError

    def unit(self, number: int) -> float:
        """Return the rate at which the optimizer takes the step that is probed."""
        raise NotImplementedError

    def probed_rate(self, number: int, probe: Probe) -> Rate:
        """Return the undecayed rate after probing step `number`."""
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
        retain_loss: Callable[[], float],
        loss_here: float | None,
    ) -> Rate:
        if not self.probes(number):
            return super().step(number, optimizer, parameters, retain_loss, loss_here)
        here = retain_loss() if loss_here is None else loss_here
        line = Line(optimizer, parameters, self.unit(number))
        rate = self.probed_rate(number, Probe(line, retain_loss, here))
        self.lr = rate.lr
        line.move(self.rate(number) if rate.taken else 0.0)
        return replace(rate, lr=self.rate(number))


def direction_of(new: float, old: float) -> str:
    """Return how a rate moved, for the record."""
    return "rose" if new > old else "fell" if new < old else "kept"
