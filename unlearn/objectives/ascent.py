"""Gradient ascent: unlearn by raising the loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.chunks import answer_losses
from unlearn.objectives.base import Objective


@dataclass
class Ascent(Objective):
    """Negative mean NLL of the answer tokens: −mean ℓ. It has no floor."""

    positive = False

    def shown(self, loss: float) -> float:
        return -loss

    def weights(self, losses: Tensor) -> Tensor | float:
        """Return what each token counts, from the NLL of all (N,), detached."""
        return 1.0

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        losses, _ = answer_losses(model, batch)
        return -(self.weights(losses.detach()) * losses).sum()
