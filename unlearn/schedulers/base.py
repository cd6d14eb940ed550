"""What a scheduler is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from unlearn.options.declared import Declared


@dataclass(frozen=True)
class Rate:
    """The learning rate of one step and, where it was probed, what the probe said."""

    lr: float
    lr_star: float | None = None
    """η* = b/A of the last probe; None where no parabola could be fitted."""
    reason: str | None = None
    """Why the rate moved or stayed; None where nothing was probed."""
    taken: bool = True
    """Whether the step was made; False where it was taken back."""


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Give every parameter group the same learning rate.

    A rate that is a tensor, as compiled optimizers have it, is filled where it lies.
    """
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


class Scheduler(Declared):
    """Takes the step of the optimizer at a rate of its choosing."""

    def begin(self, lr: float, steps: int) -> None:
        """Learn the configured rate and the number of steps of the run."""
        self.lr, self.steps = lr, steps

    def probes_held_out(self, number: int) -> bool:
        """Return whether step `number` is to be probed on the next step's retain batch."""
        return False

    def rate(self, number: int) -> float:
        """Return the learning rate of step `number`, counted from 0, where nothing is probed."""
        raise NotImplementedError

    def step(
        self,
        number: int,
        optimizer: Optimizer,
        parameters: Sequence[Parameter],
        retain_loss: Callable[[], float],
        loss_here: float | None,
    ) -> Rate:
        """Advance the parameters by one step; `.grad` holds the combined direction.

        `number` counts from 0. `retain_loss()` evaluates the retain loss at the parameters' current
        values, of this step's retain batch or, where :meth:`probes_held_out` asked for it, of the
        next one's; `loss_here` is its value before the step where that is known without computing
        it. Both are of the forget task where a method has no retain task.
        """
        rate = self.rate(number)
        set_rate(optimizer, rate)
        optimizer.step()
        return Rate(rate)

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self.lr}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lr = state["lr"]
