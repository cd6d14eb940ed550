"""SimNPO: negative preference optimization without a reference, by the mean over the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.errors import ConfigurationError
from unlearn.objectives.base import Objective
from unlearn.objectives.row_sums import preference_loss, row_sums


@dataclass
class SimNPO(Objective):
    """Make each answer unlikely by itself: −(2/β)·mean over rows of log σ(β(S/|y| − δ)).

    Fan et al. 2024, arXiv 2410.07163. S (B,) is the NLL of a row's whole answer and |y| its
    tokens, the end token included, so long answers weigh no more than short ones. Nothing is asked
    of the target. The authors write γ for β·δ; we keep δ, in the unit of the NLL.
    """

    beta: float = 4.5
    """Inverse temperature β, above 0: the larger, the sooner a row is left alone."""
    delta: float = 0.0
    """Margin δ in nats a token, any number: a row counts as half forgotten at this mean NLL."""

    def __post_init__(self) -> None:
        problems = []
        if not 0 < self.beta < math.inf:
            problems.append(f"beta: {self.beta}; allowed: above 0")
        if not math.isfinite(self.delta):
            problems.append(f"delta: {self.delta}; allowed: any finite number of nats a token")
        if problems:
            raise ConfigurationError(problems)

    def count(self, batch: Batch) -> int:
        return batch.size

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        tokens = batch.answer_mask.sum(dim=1)  # (B,)
        return preference_loss(row_sums(model, batch) / tokens - self.delta, self.beta)
