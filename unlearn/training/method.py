"""A method: forget objective × retain objective × weighting, and interventions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from unlearn.objectives import Objective
from unlearn.training.interventions import Intervention
from unlearn.weightings import Weighting


@dataclass(frozen=True)
class Method:
    """A forget objective × a retain objective × a weighting, with interventions or not."""

    forget: Objective
    retain: Objective
    weighting: Weighting
    name: str = "custom"
    interventions: Mapping[str, Intervention] = field(default_factory=dict)
    """By name, in the order in which they come to act."""

    @property
    def single(self) -> Objective | None:
        """The objective that is there alone, where the other task is left out."""
        if self.retain.trains and self.forget.trains:
            return None
        return self.retain if self.retain.trains else self.forget
