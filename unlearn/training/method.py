"""A method: forget objective × retain objective × weighting."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.objectives import Objective
from unlearn.weightings import Weighting


@dataclass(frozen=True)
class Method:
    """A method is a forget objective × a retain objective × a weighting."""

    forget: Objective
    retain: Objective
    weighting: Weighting
    name: str = "custom"

    @property
    def single(self) -> Objective | None:
        """The objective that is there alone, where the other task is left out."""
        if self.retain.trains and self.forget.trains:
            return None
        return self.retain if self.retain.trains else self.forget
