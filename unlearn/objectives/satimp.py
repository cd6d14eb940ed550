"""SatImp: ascent on the tokens that are neither lost already nor known by heart."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.objectives.ascent import WeightedAscent
from unlearn.options.declared import ZERO_OR_MORE, option


@dataclass
class SatImp(WeightedAscent):
    """Ascent with weights for saturation and importance: −mean[p^β₁·(1−p)^β₂·ℓ], weights detached.

    Yang et al. 2025, arXiv 2505.11953. ℓ (N,) is the NLL of an answer token and p = e^−ℓ. The
    first factor leaves what is forgotten, the second what every text has alike and is predicted
    with certainty; β₂ = 0 is WGA, both 0 plain ascent. The record shows the weighted NLL.
    """

    examples = ("method.forget.beta1=3",)

    beta1: float = option(5.0, ZERO_OR_MORE)
    """Power β₁ of p: the larger, the sooner a token is left alone."""
    beta2: float = option(1.0, ZERO_OR_MORE)
    """Power β₂ of 1 − p: the larger, the less a certain token counts."""

    moving_target = True

    def weights(self, losses: Tensor) -> Tensor:
        # −expm1(−ℓ) = 1 − p keeps its digits where p is next to 1.
        return (-self.beta1 * losses).exp() * (-(-losses).expm1()) ** self.beta2
