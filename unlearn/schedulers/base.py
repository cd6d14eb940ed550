"""What a scheduler is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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


class Losses(Protocol):
    """What a scheduler may ask of the two losses, at the parameters' values of the moment."""

    @property
    def floor(self) -> bool:
        """Whether the forget loss ends at zero once enough is forgotten."""
        ...

    @property
    def guess(self) -> float:
        """Nats of a guess among all tokens of the vocabulary: log V."""
        ...

    def probed(self) -> float:
        """Return the loss along which GeN's authors fit their parabola: of this step's retain rows,
        or of the forget rows where a method has no retain task."""
        ...

    def probed_here(self) -> float:
        """Return the same at the parameters before the step; to be asked for there."""
        ...

    def excess(self) -> float | None:
        """Return the NLL a token of the next step's retain rows less the target's on the same rows;
        None where a method has no retain task."""
        ...

    def forget(self) -> float | None:
        """Return the forget loss of this step's rows; None where a method has no forget task."""
        ...

    def forget_here(self) -> float:
        """Return the same at the parameters before the step; to be asked for there."""
        ...


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

    reads_target: bool = False
    """Whether :meth:`Losses.excess` will be asked for, which needs the target's loss on every
    retain row: one pass over them before the first step."""

    def begin(self, lr: float, steps: int) -> None:
        """Learn the configured rate and the number of steps of the run."""
        self.lr, self.steps = lr, steps

    def rate(self, number: int) -> float:
        """Return the learning rate of step `number`, counted from 0, where nothing is probed."""
        raise NotImplementedError

    def step(
        self,
        number: int,
        optimizer: Optimizer,
        parameters: Sequence[Parameter],
        losses: Losses,
    ) -> Rate:
        """Advance the parameters by one step; `.grad` holds the combined direction.

        `number` counts from 0.
        """
        rate = self.rate(number)
        set_rate(optimizer, rate)
        optimizer.step()
        return Rate(rate)

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self.lr}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lr = state["lr"]
