"""Gradient ascent: unlearn by raising the loss."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.chunks import answer_losses, nll_sum
from unlearn.objectives.base import Objective


@dataclass
class Ascent(Objective):
    """Negative mean NLL of the answer tokens: −mean ℓ. It has no floor."""

    one_pass = True

    positive = False

    def shown(self, loss: float) -> float:
        return -loss

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        return -nll_sum(model, batch)


@dataclass
class WeightedAscent(Ascent):
    """Ascent in which tokens do not all count the same: −mean[w·ℓ], w detached."""

    @abstractmethod
    def weights(self, losses: Tensor) -> Tensor:
        """Return what each token counts, from the NLL of all (N,), detached."""

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        losses, _ = answer_losses(model, batch)
        return -(self.weights(losses.detach()) * losses).sum()
