"""One task under a bound on the loss of the other, whose weight is the dual variable."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from unlearn.options.declared import ABOVE_ZERO, Range, option, range_problems, refuse
from unlearn.weightings.base import Weighting

BOUND = Range("any finite number, or null", math.isfinite)


@dataclass
class Dual(Weighting):
    """λ ← clip(λ + step·(loss − bound), 0, most) after each step: the weight of a bounded loss.

    Ascent on λ of the Lagrangian: λ grows for as long as the bound is broken, and sinks while there
    is room. It is in checkpoints, with the bound where that was left to the first step.
    """

    bound: float | None = option(None, BOUND)
    """Largest loss that is allowed, in its own unit; null = by what it is at the first step."""
    step: float = option(1.0, ABOVE_ZERO)
    """Growth of λ a step and unit of excess."""
    start: float = option(1.0, Range("0 to `most`", most=1e30))
    """λ at the first step."""
    most: float = option(
        100.0, Range("above 0, up to 1e30", lambda value: 0 < value <= 1e30, most=1e30)
    )
    """Upper limit of λ."""

    def __post_init__(self) -> None:
        refuse(*range_problems(self))
        beside_most = Range(f"0 to most ({self.most})", lambda s: 0 <= s <= self.most, most=1e30)
        refuse(beside_most.problem("start", self.start))
        self._dual = self.start
        self._bound = self.bound

    def dual_of(self, loss: float, first_bound: float) -> float:
        """Return λ for this step, and move it; `first_bound` counts where none was given."""
        if self._bound is None:
            self._bound = first_bound
        dual = self._dual
        self._dual = min(max(dual + self.step * (loss - self._bound), 0.0), self.most)
        return dual

    def state_dict(self) -> dict[str, Any]:
        return {"dual": self._dual, "bound": self._bound}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._dual, self._bound = state["dual"], state["bound"]
