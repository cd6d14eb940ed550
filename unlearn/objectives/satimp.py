"""SatImp: ascent on the tokens that are neither lost already nor known by heart."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.errors import ConfigurationError
from unlearn.forward.answers import answer_losses
from unlearn.objectives.base import Objective


@dataclass
class SatImp(Objective):
    """Ascent with weights for saturation and importance: −mean[p^β₁·(1−p)^β₂·ℓ], weights detached.

    Yang et al. 2025, arXiv 2505.11953. ℓ (N,) is the NLL of an answer token and p = e^−ℓ. The
    first factor leaves what is forgotten, the second what every text has alike and is predicted
    with certainty; β₂ = 0 is WGA, both 0 plain ascent. The record shows the weighted NLL.
    """

    beta1: float = 5.0
    """Power β₁ of p, 0 or more: the larger, the sooner a token is left alone."""
    beta2: float = 1.0
    """Power β₂ of 1 − p, 0 or more: the larger, the less a certain token counts."""

    positive = False
    moving_target = True

    def __post_init__(self) -> None:
        problems = [
            f"{name}: {value}; allowed: 0 or more"
            for name, value in (("beta1", self.beta1), ("beta2", self.beta2))
            if not 0 <= value < math.inf
        ]
        if problems:
            raise ConfigurationError(problems)

    def shown(self, loss: float) -> float:
        return -loss

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        losses, _ = answer_losses(model, batch)
        fixed = losses.detach()
        # −expm1(−ℓ) = 1 − p keeps its digits where p is next to 1.
        weights = (-self.beta1 * fixed).exp() * (-(-fixed).expm1()) ** self.beta2
        return -(weights * losses).sum()
