"""Weighted gradient ascent: what the model is sure of is raised, what it has lost is left."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.answers import answer_losses
from unlearn.objectives.base import Objective
from unlearn.options.declared import ZERO_OR_MORE, option


@dataclass
class WGA(Objective):
    """Ascent with each token weighted by its own probability: −mean[p^β·ℓ], the weight detached.

    Wang et al. 2025, arXiv 2502.19301 (the paper of the "G-effect"). ℓ (N,) is the NLL of an
    answer token and p = e^−ℓ, so a token that is forgotten loses its say; β = 0 is plain ascent.
    The record shows the weighted NLL, which is small both for what is known by heart and for what
    is forgotten.
    """

    examples = ("method.forget.beta=2",)

    beta: float = option(1.0, ZERO_OR_MORE)
    """Power β of the weight; 0 = every token weighs the same: plain ascent."""

    positive = False
    moving_target = True

    def shown(self, loss: float) -> float:
        return -loss

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        losses, _ = answer_losses(model, batch)
        weights = (-self.beta * losses.detach()).exp()  # p^β
        return -(weights * losses).sum()
