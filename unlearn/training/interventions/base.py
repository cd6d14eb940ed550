"""What an intervention is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from unlearn.compute.gradients import Gradient
from unlearn.compute.model import LanguageModel
from unlearn.options.declared import Declared
from unlearn.training.direction import Direction


@dataclass(frozen=True)
class Start:
    """What an intervention learns before the first step; the model is still the target."""

    model: LanguageModel
    parameters: Sequence[Parameter]
    """Those that are trained, in the order of every gradient."""
    optimizer: Optimizer
    forget_gradient: Callable[[], Gradient]
    """Takes the gradient of the forget loss over all forget rows, at the weights as they are."""


@dataclass
class TaskAtStep:
    """A task whose gradient is about to be taken."""

    name: str
    """`retain` or `forget`."""
    take: Callable[[], tuple[Tensor, Gradient]]
    loss: Tensor | None = field(default=None, init=False)
    """The loss (scalar) where the gradient was first taken, which is the loss of the step."""

    def gradient(self) -> Gradient:
        """Return the gradient of the step's batch at the weights as they are."""
        loss, gradient = self.take()
        self.loss = loss if self.loss is None else self.loss
        return gradient


class Intervention(Declared):
    """Does something around a step that is neither a loss nor a pair of weights.

    Every hook does nothing unless it is overridden. One with state that moves as the run goes on
    overrides `state_dict` and `load_state_dict`.
    """

    needs_both: bool = False
    """Whether `direct` is to find both tasks' gradients in `direction.both`: one gradient more in
    memory, and no single backward pass for fixed weights."""

    last: bool = False
    """Whether its `direct` changes what the others make of the gradient, also where it needs both
    tasks' gradients itself."""

    of_parts: bool = False
    """Whether it also works where each process holds a part of weights and gradients
    (training.sharding=fsdp): element by element, or by :func:`inner_product`. Else it is refused
    there."""

    def begin(self, start: Start) -> None:
        """Learn the run, once, before its first step.

        A run that goes on begins in the same way, with the target, before its state is put back.
        """

    def around(self, task: TaskAtStep) -> AbstractContextManager[None]:
        """Return the context in which the gradient of a task is taken, forget and retain in turn.

        It must leave the weights as it found them, to the last bit. Overridden, it has the two
        gradients taken by a backward pass each, also where the weights are fixed.
        """
        return nullcontext()

    def direct(self, direction: Direction) -> None:
        """Change the combined gradient in place, before it is clipped and handed to the optimizer.

        Interventions that need both gradients come first, unless they are to be `last`; the others
        change what those made.
        """

    def settle(self, step: int) -> None:
        """Change the weights after step `step`, counted from 1, was taken at its rate."""

    def state_dict(self) -> dict[str, Any]:
        """Return what moves as the run goes on; none of its tensors may be changed in place.

        It is taken before a step and written once the step's direction is known to be finite.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; the weights are those of that step."""
