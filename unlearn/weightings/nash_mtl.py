"""Nash-MTL: the two tasks bargain for the direction."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from unlearn.options.declared import Range, option
from unlearn.weightings.base import Weighting
from unlearn.weightings.ngdiff import SMALLEST_NORM

SMALLEST_OPENING = 1e-12
"""Where 1 + cos is below this, the gradients oppose each other up to rounding (float64)."""


@dataclass
class NashMTL(Weighting):
    """Solve the Nash bargaining of two tasks, (G·α)_i = 1/α_i with α > 0, in closed form.

    Navon et al., ICML 2022, arXiv 2202.01017. With a = ‖g_retain‖, b = ‖g_forget‖ and
    cos = g_retain·g_forget/(a·b) try α = (1/a, 1/b)/s:

        (G·α)_retain = (a²/a + a·b·cos/b)/s = a·(1 + cos)/s,    1/α_retain = a·s,

    and the same with b for forget, so s = √(1 + cos). Hence d = √2 times a unit vector parallel to
    NGDiff's direction, whatever the scale of either loss: both signs are kept. The authors then
    shorten d to the length `max_norm`, 1 in their code and here, and so every step has that length.

    Where they differ: they iterate with a convex solver, which finds no way out of its start where
    the gradients conflict and one is much smaller, and may reuse weights for several steps; two
    tasks need neither solver nor state. Left open by the paper: a gradient that is zero gets
    the weight zero, the other one then has α = 1/‖g‖; gradients that exactly oppose each other have
    no bargain that serves both, so nothing moves (0, 0).

    `gramian` (2, 2) float64, retain first. Raises ConfigurationError.
    """

    max_norm: float = option(1.0, Range("above 0", lambda value: value > 0))
    """Greatest length of the direction; from √2 on it is never shortened."""

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        norms = retain_norm, forget_norm = gramian.diagonal().clamp(min=0).sqrt().tolist()
        if min(norms) <= SMALLEST_NORM:
            length = min(1.0, self.max_norm)
            retain, forget = (length / norm if norm > SMALLEST_NORM else 0.0 for norm in norms)
            return retain, forget
        cosine = min(gramian[0, 1].item() / (retain_norm * forget_norm), 1.0)
        opening = 1 + cosine
        if opening < SMALLEST_OPENING:
            return 0.0, 0.0
        shortened = min(1.0, self.max_norm / math.sqrt(2)) / math.sqrt(opening)
        return shortened / retain_norm, shortened / forget_norm
