"""Token cross-entropy: learn, or keep, the answers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.chunks import nll_sum
from unlearn.objectives.base import Objective


@dataclass
class NegativeLogLikelihood(Objective):
    """Mean NLL of the answer tokens, the end token included: mean ℓ."""

    one_pass = True

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        return nll_sum(model, batch)

    def at_target(self, batch: Batch, sums: Tensor) -> Tensor:
        return sums[batch.rows].sum()
