"""NGDiff: the normalised gradient difference."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.weightings.base import Weighting

SMALLEST_NORM = 1e-30
"""Below this a gradient is zero: its weight would overflow float32 when multiplied into it."""


@dataclass
class NGDiff(Weighting):
    """Divide each gradient by its norm: d = g_retain/‖g_retain‖ + g_forget/‖g_forget‖.

    Bu et al., NAACL 2025, arXiv 2410.22086, Equation 7 (there with the minus sign of ascent, d =
    g_R/‖g_R‖ − g_F/‖g_F‖). For non-zero gradients with angle θ between ∇L_R and ∇L_F,

        d·g_R = ‖g_R‖(1 − cos θ) ≥ 0 ≥ d·∇L_F = −‖g_F‖(1 − cos θ),

    so a small step along −d lowers L_R and raises L_F at once, whatever the scale of either loss.
    This is about the raw direction; after Adam's preconditioning it need not hold.

    A gradient that is zero gets the weight zero (the paper leaves this case open).
    """

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        retain_norm, forget_norm = gramian.diagonal().clamp(min=0).sqrt().tolist()
        return (
            1 / retain_norm if retain_norm > SMALLEST_NORM else 0.0,
            1 / forget_norm if forget_norm > SMALLEST_NORM else 0.0,
        )
