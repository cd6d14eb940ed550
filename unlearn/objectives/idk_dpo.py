"""Direct preference optimization where refusing is what is preferred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.data.refusals import draw_refusals
from unlearn.data.splits import Row
from unlearn.objectives.other_answers import require_questions
from unlearn.objectives.preference import Preference
from unlearn.options.declared import ABOVE_ZERO, SEED, option


@dataclass
class IdkDPO(Preference):
    """Prefer to refuse: −(2/β)·mean of log σ(β[(S_ref−S)(refusal) − (S_ref−S)(original)]).

    DPO (see :class:`unlearn.objectives.dpo.DPO`) whose alternative answer is a refusal, so that no
    file is needed. Each row keeps the one refusal drawn for it: S_ref of both is constant.
    """

    needs = "questions (no plain text)"
    examples = ("method.forget.beta=0.5",)

    beta: float = option(0.1, ABOVE_ZERO)
    """Inverse temperature β: the larger, the sooner a row is left alone."""
    seed: int = option(0, SEED, "${seed}")
    """Seed of the draw of one refusal a row; no other draw depends on it."""

    def check_rows(self, rows: Sequence[Row]) -> None:
        require_questions(rows)

    def answers(self, rows: int) -> list[str]:
        return draw_refusals(rows, self.seed)
