"""A parabola through three points of a loss along a step.

With u the optimizer's step per unit of learning rate (moments and weight decay included),

    L(w − x·u) ≈ L(w) − b·x + ½·A·x²,     η* = b / A,

and three points of the loss, at x = −η, 0, η, give A = (L₊ − 2L₀ + L₋)/η² and b = (L₊ − L₋)/(2η)
with L₊ on the ascent side. Exact on a quadratic for every probe η.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Parabola:
    """The fit at one probe: the loss ahead, slope b and curvature A."""

    ahead: float
    slope: float
    curvature: float

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, (self.ahead, self.slope, self.curvature)))

    @property
    def usable(self) -> bool:
        """Whether there is a minimum ahead: the acceptance rule of GeN's authors."""
        return self.finite and self.slope > 0 and self.curvature > 0

    @property
    def minimum(self) -> float | None:
        """η* = b/A, or None where there is none."""
        return self.slope / self.curvature if self.usable else None


def fit(before: float, here: float, ahead: float, rate: float) -> Parabola:
    """Fit through L₊ = `before`, L₀ = `here`, L₋ = `ahead`, probed at −`rate`, 0 and `rate`."""
    slope = (before - ahead) / (2 * rate)
    return Parabola(ahead, slope, (before - 2 * here + ahead) / rate**2)
