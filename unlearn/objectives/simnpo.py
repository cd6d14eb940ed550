"""SimNPO: negative preference optimization without a reference, by the mean over the answer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.objectives.base import Objective
from unlearn.objectives.row_sums import preference_loss, row_sums
from unlearn.options.declared import ABOVE_ZERO, FINITE, option


@dataclass
class SimNPO(Objective):
    """Make each answer unlikely by itself: −(2/β)·mean over rows of log σ(β(S/|y| − δ)).

    Fan et al. 2024, arXiv 2410.07163. S (B,) is the NLL of a row's whole answer and |y| its
    tokens, the end token included, so long answers weigh no more than short ones. Nothing is asked
    of the target. The authors write γ for β·δ; we keep δ, in the unit of the NLL.
    """

    one_pass = True

    examples = ("method.forget.delta=1",)

    beta: float = option(4.5, ABOVE_ZERO)
    """Inverse temperature β: the larger, the sooner a row is left alone."""
    delta: float = option(0.0, FINITE)
    """Margin δ in nats a token: a row counts as half forgotten at this mean NLL."""

    def count(self, batch: Batch) -> int:
        return batch.size

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        tokens = batch.answer_mask.sum(dim=1)  # (B,)
        return preference_loss(row_sums(model, batch) / tokens - self.delta, self.beta)
