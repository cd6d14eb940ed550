"""UNDIAL: distil the target's own prediction, with the right token made less likely."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.errors import ConfigurationError
from unlearn.forward.answers import answer_logits
from unlearn.objectives.base import Objective, Resources


@dataclass
class UNDIAL(Objective):
    """Mean cross-entropy to q = softmax(z_ref − β·onehot(y)) over the answer tokens.

    Dong et al. 2025, arXiv 2402.10052. z_ref (N, V) are the logits of the frozen target, y (N,)
    the answer's tokens: q keeps the proportions of all other tokens. The loss is bounded from
    below, by the entropy of q, and has its minimum in a model that anyone can name: the target
    with y's logit lowered by β. No retain task is needed for it to stop there.

    Where we deviate: the answer tokens count, not prompt and padding.
    """

    beta: float = 10.0
    """How far the right token's logit is lowered, β, above 0; 10 all but rules the token out."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise ConfigurationError(
                f"beta: {self.beta}; allowed: above 0 (0 would distil the target unchanged)"
            )

    def prepare(self, resources: Resources, other: Objective) -> None:
        self.reference = resources.frozen_target()

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        with torch.no_grad():
            reference, labels, _ = answer_logits(self.reference, batch)
            label = labels.unsqueeze(1)  # (N, 1)
            lowered = reference.scatter(1, label, reference.gather(1, label) - self.beta)
            target = lowered.softmax(dim=1)  # (N, V)
        logits, _, _ = answer_logits(model, batch)
        return F.cross_entropy(logits, target, reduction="sum")
