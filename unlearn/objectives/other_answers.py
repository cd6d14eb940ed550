"""A task's questions with other answers than their own: alternatives, or refusals."""

from __future__ import annotations

from collections.abc import Sequence

from unlearn.data.batches import Batch, collate
from unlearn.data.splits import Row
from unlearn.data.telling import shown
from unlearn.errors import DataError
from unlearn.objectives.base import Resources


class OtherAnswers:
    """Every row's question with its other answer, in batches of the same rows as the task's."""

    def __init__(self, resources: Resources, answers: Sequence[str]) -> None:
        self.examples = resources.encode(answers)

    def tokens(self, batch: Batch) -> int:
        """Return the answer tokens of the batch's rows."""
        return sum(len(self.examples[row].answer) for row in batch.rows.tolist())

    def all_tokens(self, batch: Batch) -> int:
        """Return the tokens of the batch's rows, prompts included."""
        return sum(len(self.examples[row]) for row in batch.rows.tolist())

    def batch(self, batch: Batch) -> Batch:
        """Return the rows of `batch`, in its order, with their other answers."""
        rows = batch.rows.tolist()
        examples = [self.examples[row] for row in rows]
        return collate(examples, rows).to(batch.input_ids.device)


def require_questions(
    rows: Sequence[Row], task: str = "method.forget", others: str = "ascent, npo, simnpo"
) -> None:
    """Raise DataError where a row is plain text: nothing else can be answered to no question.

    `task` is the option of the objective, `others` are those that take text.
    """
    texts = [row for row in rows if not row.question.strip()]
    if texts:
        raise DataError(
            f"{task}: {len(texts)} of {len(rows)} rows are plain text without a question, "
            f"first {shown(texts[0].answer)}, so there is nothing to answer otherwise; give data "
            f"with questions, or an objective for text: {others}"
        )
