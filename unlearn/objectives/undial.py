"""UNDIAL: distil the target's own prediction, with the right token made less likely."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.chunks import token_values
from unlearn.objectives.base import Objective, Resources
from unlearn.options.declared import ABOVE_ZERO, option


@dataclass
class UNDIAL(Objective):
    """Mean cross-entropy to q = softmax(z_ref − β·onehot(y)) over the answer tokens.

    Dong et al. 2025, arXiv 2402.10052. z_ref (N, V) are the logits of the frozen target, y (N,)
    the answer's tokens: q keeps the proportions of all other tokens. The loss is bounded from
    below, by the entropy of q, and has its minimum in a model that anyone can name: the target
    with y's logit lowered by β. No retain task is needed for it to stop there.

    Where we deviate: the answer tokens count, not prompt and padding.
    """

    one_pass = True

    needs = "memory for a second copy of the model"
    examples = ("method.forget.beta=3",)
    keeps_target = True

    beta: float = option(10.0, ABOVE_ZERO)
    """How far the right token's logit is lowered, β; 10 all but rules the token out."""

    def prepare(self, resources: Resources, other: Objective) -> None:
        self.reference = resources.frozen_target()

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        return token_values(model, batch, self._of_tokens, self.reference)[0].sum()

    def _of_tokens(self, logits: Tensor, labels: Tensor, reference: Tensor) -> Tensor:
        """Return the cross-entropy of every token (N,) from logits (N, V) of both models."""
        label = labels.unsqueeze(1)  # (N, 1)
        lowered = reference.scatter(1, label, reference.gather(1, label) - self.beta)
        return F.cross_entropy(logits, lowered.softmax(dim=1), reduction="none")
