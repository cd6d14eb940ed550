"""Maximum entropy: on the forget answers every token becomes as likely as every other."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.chunks import token_values
from unlearn.objectives.base import Objective


@dataclass
class MaximumEntropy(Objective):
    """KL(uniform ‖ model) = log Σ e^z − mean z − log V, mean over the answer tokens.

    Yuan et al., ICLR 2025, arXiv 2410.08109 (ME). z (N, V) are the logits. Zero where the model
    guesses among all V tokens, and never negative; its minimum is a model that anyone can name, so
    it has the end that ascent lacks. The right token is not asked for.

    Where we deviate: the answer tokens count, where the authors' ME flattens question and padding
    as well (`mask: false`); and it is computed from the logits, without their 1e-12 in the
    logarithm.
    """

    one_pass = True

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        return token_values(model, batch, self._of_tokens)[0].sum()

    @staticmethod
    def _of_tokens(logits: Tensor, _labels: Tensor) -> Tensor:
        """Return the divergence of every token (N,) from its logits (N, V)."""
        centred = logits - logits.mean(dim=1, keepdim=True)
        divergences = centred.logsumexp(dim=1) - math.log(logits.shape[1])
        # Where rounding makes one negative, the value is lifted to 0 and the gradient left alone.
        return divergences - divergences.detach().clamp(max=0)
