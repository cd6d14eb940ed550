"""BLUR: forgetting comes first, and retaining has what is orthogonal to it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.options.declared import ABOVE_ZERO, option
from unlearn.weightings.base import Weighting
from unlearn.weightings.ngdiff import SMALLEST_NORM


@dataclass
class BLUR(Weighting):
    """Add to γ·f the part of r that is orthogonal to f: d = r + (γ − r·f/‖f‖²)·f.

        w_retain = 1,  w_forget = γ − r·f/‖f‖²

    Reisizadeh et al. 2025, arXiv 2506.08164 (bi-level unlearning), r and f the gradients of the two
    losses being minimised: the retain loss is lowered only among the steps that are as good for the
    forget loss. d·f = γ·‖f‖² whatever r is, so the forget loss falls to first order; the retain
    loss may rise where the two conflict. The direction turns with the scale of either loss.

    Where we differ: the authors' code for WMDP has the weight at the other part, f + α·(r −
    (r·f/‖f‖²)·f), which is α times this with γ = 1/α. A forget gradient that is zero, which they
    divide by, leaves r.
    """

    gamma: float = option(1.0, ABOVE_ZERO)
    """γ, the weight of the forget gradient beside the retain gradient's orthogonal part."""

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        forget_square, inner = gramian[1, 1].item(), gramian[0, 1].item()
        if forget_square <= SMALLEST_NORM**2:
            return 1.0, 0.0
        return 1.0, self.gamma - inner / forget_square
