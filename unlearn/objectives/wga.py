"""Weighted gradient ascent: what the model is sure of is raised, what it has lost is left."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.objectives.ascent import WeightedAscent
from unlearn.options.declared import ZERO_OR_MORE, option


@dataclass
class WGA(WeightedAscent):
    """Ascent with each token weighted by its own probability: −mean[p^β·ℓ], the weight detached.

    Wang et al. 2025, arXiv 2502.19301 (the paper of the "G-effect"). ℓ (N,) is the NLL of an
    answer token and p = e^−ℓ, so a token that is forgotten loses its say; β = 0 is plain ascent.
    The record shows the weighted NLL, which is small both for what is known by heart and for what
    is forgotten.
    """

    examples = ("method.forget.beta=2",)

    beta: float = option(1.0, ZERO_OR_MORE)
    """Power β of the weight; 0 = every token weighs the same: plain ascent."""

    moving_target = True

    def weights(self, losses: Tensor) -> Tensor:
        return (-self.beta * losses).exp()  # p^β
