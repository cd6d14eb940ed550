"""KL divergence to the target: keep the whole prediction, not only the right token.

Zero and flat at the start, so the automatic rate reads the rows' NLL instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.chunks import token_values
from unlearn.objectives.base import Objective, Resources


@dataclass
class KullbackLeibler(Objective):
    """KL(ref ‖ model) = Σ p_ref·(log p_ref − log p), mean over the answer tokens.

    A retain objective: "KL minimization" of TOFU (Maini et al. 2024, arXiv 2401.06121). ref is the
    frozen target; p, p_ref (N, V). Zero only where the model predicts as the target does, which is
    where unlearning starts: loss and gradient of the first step are exactly zero.

    We add Σ (p − p_ref), which is zero, to the sum. No term is negative then, and the gradient by
    log p is p − p_ref, which leaves no rounding at the target: a weighting that divides by the norm
    would blow that rounding up to a direction of its own.

    Where we deviate: the answer tokens count, not prompt and padding.
    """

    one_pass = True

    needs = "memory for a second copy of the model"

    keeps_target = True
    zero_at_target = True

    def prepare(self, resources: Resources, other: Objective) -> None:
        self.reference = resources.frozen_target()

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        return token_values(model, batch, self._of_tokens, self.reference)[0].sum()

    @staticmethod
    def _of_tokens(logits: Tensor, _labels: Tensor, reference_logits: Tensor) -> Tensor:
        """Return the divergence of every token (N,) from logits (N, V) of both models."""
        log_reference = reference_logits.log_softmax(dim=1)
        reference = log_reference.exp()
        log_p = logits.log_softmax(dim=1)
        terms = reference * (log_reference - log_p) + (log_p.exp() - reference)  # (N, V)
        divergences = terms.sum(dim=1)
        # Where rounding makes one negative, the value is lifted to 0 and the gradient left alone.
        return divergences - divergences.detach().clamp(max=0)
