"""Rows beside a refusal of their own; the objectives say what the two answers are compared by."""

from __future__ import annotations

from unlearn.data.batches import Batch
from unlearn.data.refusals import draw_refusals
from unlearn.objectives.base import Objective, Resources
from unlearn.objectives.other_answers import OtherAnswers


class BesideRefusal(Objective):
    """Mean over rows, of which each keeps the one refusal drawn for it."""

    seed: int

    def prepare(self, resources: Resources, other: Objective) -> None:
        refusals = draw_refusals(len(resources.examples), self.seed)
        self.refusals = OtherAnswers(resources, refusals)

    def count(self, batch: Batch) -> int:
        return batch.size

    def tokens(self, batch: Batch) -> int:
        return super().tokens(batch) + self.refusals.all_tokens(batch)
