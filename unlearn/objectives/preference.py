"""The loss of preferring one answer to another; DPO and IdkDPO say which other answer."""

from __future__ import annotations

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.objectives.base import Objective, Resources
from unlearn.objectives.other_answers import OtherAnswers
from unlearn.objectives.row_sums import preference_loss, row_sums


class Preference(Objective):
    """−(2/β)·mean over rows of log σ(β[(S_ref − S)(other answer) − (S_ref − S)(original)]).

    Two forward passes a batch; S_ref (N,) of both answers is scored once, before the first step.
    """

    one_pass = True

    beta: float

    def answers(self, rows: int) -> list[str]:
        """Return the preferred answer of each of the task's rows."""
        raise NotImplementedError

    def prepare(self, resources: Resources, other: Objective) -> None:
        self.other = OtherAnswers(resources, self.answers(len(resources.examples)))
        self.reference = resources.target_sums(resources.examples)  # (N,)
        self.other_reference = resources.target_sums(self.other.examples)  # (N,)

    def count(self, batch: Batch) -> int:
        return batch.size

    def tokens(self, batch: Batch) -> int:
        return super().tokens(batch) + self.other.all_tokens(batch)

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        gained = self.other_reference[batch.rows] - row_sums(model, self.other.batch(batch))
        kept = self.reference[batch.rows] - row_sums(model, batch)
        return preference_loss(gained - kept, self.beta)
