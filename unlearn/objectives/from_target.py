"""Distance of the model's predictions from the target's, token by token."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.chunks import token_values
from unlearn.objectives.base import Objective, Resources


@dataclass
class FromTarget(Objective):
    """A distance from the frozen target, zero where the model predicts as it does."""

    needs = "memory for a second copy of the model"
    keeps_target = True
    one_pass = True
    zero_at_target = True

    def prepare(self, resources: Resources, other: Objective) -> None:
        self.reference = resources.frozen_target()

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        return token_values(model, batch, self.of_tokens, self.reference)[0].sum()

    @staticmethod
    @abstractmethod
    def of_tokens(logits: Tensor, labels: Tensor, target_logits: Tensor) -> Tensor:
        """Return the distance of every token (N,) from logits (N, V) of both models."""
