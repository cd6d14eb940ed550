"""All interventions of a run as one; of none nothing is to be seen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from torch import Tensor

from unlearn.compute.gradients import Gradient, inner_product
from unlearn.training.direction import Direction
from unlearn.training.interventions.base import Intervention, Start, TaskAtStep

log = logging.getLogger(__name__)


class Interventions:
    """The interventions of a run, by name, in their order."""

    def __init__(self, named: Mapping[str, Intervention]) -> None:
        self.named, all_of_them = named, named.values()
        self.around = [part for part in all_of_them if _overrides(part, "around")]
        """Those in whose context a gradient is taken."""
        self.needs_both = any(part.needs_both for part in all_of_them)
        directing = [part for part in all_of_them if _overrides(part, "direct")]
        # What makes a direction of the two gradients would undo a mask that came before it.
        self.directing = sorted(directing, key=lambda part: (part.last, not part.needs_both))

    @property
    def apart(self) -> bool:
        """Whether the two gradients must be taken apart also where their weights are fixed."""
        return self.needs_both or bool(self.around)

    def begin(self, start: Start) -> None:
        for name, part in self.named.items():
            log.info("intervention %s: %s", name, type(part).__name__)
            part.begin(start)

    def gradient(
        self, name: str, take: Callable[[], tuple[Tensor, Gradient]]
    ) -> tuple[Tensor, Gradient]:
        """Return loss (scalar) and gradient of the task `name`, which `take` takes."""
        if not self.around:
            return take()
        task = TaskAtStep(name, take)
        with ExitStack() as stack:
            for part in self.around:
                stack.enter_context(part.around(task))
            gradient = task.gradient()
        assert task.loss is not None
        return task.loss, gradient

    def direct(self, direction: Direction) -> Direction:
        """Return the direction that the optimizer gets, with its norm."""
        if not self.directing:
            return direction
        for part in self.directing:
            part.direct(direction)
        norm = inner_product(direction.gradient, direction.gradient).sqrt().item()
        return replace(direction, norm=norm, both=None)

    def settle(self, step: int) -> None:
        for part in self.named.values():
            part.settle(step)

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.named.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, part in self.named.items():
            part.load_state_dict(state[name])


def _overrides(part: Intervention, hook: str) -> bool:
    return getattr(type(part), hook) is not getattr(Intervention, hook)
