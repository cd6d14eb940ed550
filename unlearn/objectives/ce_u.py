"""Cross-entropy unlearning: learn the model's own prediction with the right token ruled out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.chunks import token_values
from unlearn.objectives.base import Objective


@dataclass
class CEU(Objective):
    """Mean cross-entropy to q = softmax(z with z_y = −∞), detached, over the answer tokens.

    Yang 2025, arXiv 2503.01224. With z (N, V) the logits and p = softmax(z), q_k = p_k/(1 − p_y)
    for k ≠ y and q_y = 0, so the cross-entropy is

        −Σ q_k·log p_k = −log(1 − p_y) + H(q),

    whose entropy is a constant, as q is. We compute this form: the gradient p − q is that of the
    first term, log(1 + e^(z_y − log Σ_{k≠y} e^{z_k})), which is exact for any logits and keeps one
    (N, V) tensor for the backward pass instead of a target and log-probabilities.
    """

    one_pass = True

    moving_target = True

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        return token_values(model, batch, self._of_tokens)[0].sum()

    @staticmethod
    def _of_tokens(logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of every token (N,) from its logits (N, V)."""
        label = labels.unsqueeze(1)  # (N, 1)
        others = logits.scatter(1, label, -math.inf)  # (N, V)
        log_others = others.logsumexp(dim=1)  # (N,)
        suppressed = F.softplus(logits.gather(1, label).squeeze(1) - log_others)  # −log(1 − p_y)
        with torch.no_grad():
            entropy = torch.special.entr(others.softmax(dim=1)).sum(dim=1)  # H(q), with 0·log 0 = 0
        return suppressed + entropy
