"""KL divergence to the target: keep the whole prediction, not only the right token.

Zero and flat at the start, so the automatic rate reads the rows' NLL instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.objectives.from_target import FromTarget


@dataclass
class KullbackLeibler(FromTarget):
    """KL(ref ‖ model) = Σ p_ref·(log p_ref − log p), mean over the answer tokens.

    A retain objective: "KL minimization" of TOFU (Maini et al. 2024, arXiv 2401.06121). ref is the
    frozen target; p, p_ref (N, V). Zero only where the model predicts as the target does, which is
    where unlearning starts: loss and gradient of the first step are exactly zero.

    We add Σ (p − p_ref), which is zero, to the sum. No term is negative then, and the gradient by
    log p is p − p_ref, which leaves no rounding at the target: a weighting that divides by the norm
    would blow that rounding up to a direction of its own.

    Where we deviate: the answer tokens count, not prompt and padding.
    """

    @staticmethod
    def of_tokens(logits: Tensor, labels: Tensor, target_logits: Tensor) -> Tensor:
        log_reference = target_logits.log_softmax(dim=1)
        reference = log_reference.exp()
        log_p = logits.log_softmax(dim=1)
        terms = reference * (log_reference - log_p) + (log_p.exp() - reference)  # (N, V)
        divergences = terms.sum(dim=1)
        # Where rounding makes one negative, the value is lifted to 0 and the gradient left alone.
        return divergences - divergences.detach().clamp(max=0)
