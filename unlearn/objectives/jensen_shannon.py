"""Jensen-Shannon divergence to the target: keep the prediction, at a loss with a ceiling.

Zero and flat at the start, so the automatic rate reads the rows' NLL instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn.objectives.from_target import FromTarget


@dataclass
class JensenShannon(FromTarget):
    """JS(ref, model) = ½·KL(p_ref ‖ m) + ½·KL(p ‖ m), m = ½(p_ref + p), mean over answer tokens.

    The retain objective of JensUn, Singh et al. 2025, arXiv 2509.02820. ref is the frozen target;
    p, p_ref (N, V). Between 0 and log 2, and zero only where the model predicts as the target does,
    which is where unlearning starts.

    With x = ½(log p_ref − log p) every entry's share is m·(x·tanh x − log cosh x), which is never
    negative and keeps its digits where both agree; the gradient by p is ½·log(p/m) = −½(x + log
    cosh x), exactly zero at the target: a weighting that divides by the norm finds no rounding to
    blow up.

    Where we deviate: the answer tokens count, not prompt and padding; nothing is clamped, as the
    authors' code does to its probabilities at 1e-9.
    """

    @staticmethod
    def of_tokens(logits: Tensor, labels: Tensor, target_logits: Tensor) -> Tensor:
        p = logits.softmax(dim=1)
        with torch.no_grad():
            log_reference = target_logits.log_softmax(dim=1)
            x = (log_reference - logits.log_softmax(dim=1)) / 2  # (N, V)
            gaps, ratios = _gap_and_ratio(x)
            values = ((p + log_reference.exp()) / 2 * gaps).sum(dim=1)
        change = (-ratios / 2 * p).sum(dim=1)  # brings its gradient, and no value
        return values + (change - change.detach())


def _gap_and_ratio(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x·tanh x − log cosh x and x + log cosh x: exact at 0, right however large x is."""
    near, size = x.clamp(-1, 1), x.abs()
    log_cosh = near.sinh().square().log1p() / 2
    here = size < 1
    beyond = math.log(2) - 2 * size * (-2 * size).sigmoid() - (-2 * size).exp().log1p()
    gap = torch.where(here, near * near.tanh() - log_cosh, beyond)
    return gap, torch.where(here, near + log_cosh, F.softplus(2 * x) - math.log(2))
