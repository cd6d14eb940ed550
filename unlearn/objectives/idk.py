"""Learn to refuse: the forget questions with "I don't know" as their answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.data.refusals import draw_refusals
from unlearn.data.splits import Row
from unlearn.objectives.other_answers import require_questions
from unlearn.objectives.other_nll import OtherNLL
from unlearn.options.declared import SEED, option


@dataclass
class IdkNLL(OtherNLL):
    """Mean NLL of a refusal as the answer to each forget question: mean ℓ(refusal).

    The "preference optimization" (PO) of TOFU, Maini et al. 2024, arXiv 2401.06121. The mean is
    over the refusals' tokens, end token included. The answers that must go are never looked at.

    Where we deviate: each row keeps the one refusal drawn for it, where TOFU draws afresh whenever
    a row comes up; and the refusals are this project's own.
    """

    needs = "questions (no plain text)"

    seed: int = option(0, SEED, "${seed}")
    """Seed of the draw of one refusal a row; no other draw depends on it."""

    def check_rows(self, rows: Sequence[Row]) -> None:
        require_questions(rows)

    def answers(self, rows: int) -> list[str]:
        return draw_refusals(rows, self.seed)
