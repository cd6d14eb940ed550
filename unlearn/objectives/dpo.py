"""Direct preference optimization: an alternative answer is preferred to the one that must go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from unlearn.data.columns import Columns, rows_of
from unlearn.data.splits import Row
from unlearn.data.tables import read_table
from unlearn.data.telling import shown
from unlearn.errors import ConfigurationError, DataError
from unlearn.objectives.other_answers import require_questions
from unlearn.objectives.preference import Preference
from unlearn.options.declared import ABOVE_ZERO, Range, option, range_problems

COLUMN = Range("a column's name", bool)


@dataclass
class DPO(Preference):
    """Prefer an alternative: −(2/β)·mean of log σ(β[(S_ref−S)(alternative) − (S_ref−S)(original)]).

    Rafailov et al. 2023, arXiv 2305.18290, as NPO's authors use it (Zhang et al. 2024, arXiv
    2404.05868): with their factor 2/β, which gives the margin a slope of −1 at the target. S (B,)
    is the NLL of a row's whole answer, S_ref the same under the target, scored once and kept.

    The alternatives are found by the text of the question, up to white space. Rows that share a
    question take its alternatives in the order of the file, and from the first again where there
    are fewer of them than rows; what no row takes is left unused.

    Raises ConfigurationError without a file, DataError for one that cannot be read, that lacks a
    forget question, or that prefers the very answer that must go.
    """

    needs = (
        "a file with an alternative for every forget question (.json, .jsonl, .csv or .parquet); "
        "idk_dpo does without one"
    )
    examples = ("method.forget.alternatives=mine/alternatives.jsonl",)

    alternatives: str | None = option(None, Range("a file, required"))
    """File of questions with alternative answers: .json, .jsonl, .csv or .parquet."""
    question: str = option("question", COLUMN)
    """Its column of questions."""
    answer: str = option("answer", COLUMN)
    """Its column of alternative answers."""
    beta: float = option(0.1, ABOVE_ZERO)
    """Inverse temperature β: the larger, the sooner a row is left alone."""

    def __post_init__(self) -> None:
        problems = range_problems(self)
        if self.question == self.answer:
            problems.append(f"answer: {self.answer!r} is the column of the question as well")
        if not self.alternatives:
            problems.append(
                "alternatives: not set; dpo needs a .json, .jsonl, .csv or .parquet file with a "
                "question and an alternative answer a row, method.forget.alternatives=FILE; "
                "idk_dpo does without one: it prefers refusals"
            )
            raise ConfigurationError(problems)
        try:
            self.known = self._read(Path(self.alternatives).expanduser())
        except DataError as error:
            named = [problem.removeprefix("alternatives=") for problem in error.problems]
            raise DataError(problems + [f"alternatives: {problem}" for problem in named]) from error
        if problems:
            raise ConfigurationError(problems)

    def _read(self, path: Path) -> dict[str, list[str]]:
        """Return the alternatives of every question, in the order of the file."""
        advice = "Name yours with method.forget.question=… and method.forget.answer=…."
        table = read_table(path, "alternatives")
        known: dict[str, list[str]] = {}
        for row in rows_of(table, Columns(self.question, self.answer), advice):
            known.setdefault(_key(row.question), []).append(row.answer)
        return known

    def check_rows(self, rows: Sequence[Row]) -> None:
        require_questions(rows)
        unknown = [row for row in rows if _key(row.question) not in self.known]
        if unknown:
            raise DataError(
                f"method.forget.alternatives: {self.alternatives} has no answer for {len(unknown)} "
                f"of {len(rows)} forget questions, first "
                f"{', '.join(shown(row.question) for row in unknown[:3])}; add them (a question is "
                "found by its text), or use idk_dpo, which needs no file"
            )
        turns = {question: cycle(answers) for question, answers in self.known.items()}
        self.chosen = [next(turns[_key(row.question)]) for row in rows]
        pairs = zip(rows, self.chosen, strict=True)
        same = [row for row, chosen in pairs if _key(row.answer) == _key(chosen)]
        if same:
            raise DataError(
                f"method.forget.alternatives: {self.alternatives} prefers the very answer that "
                f"must go in {len(same)} of {len(rows)} forget rows, first question "
                f"{shown(same[0].question)}; give another answer there"
            )

    def answers(self, rows: int) -> list[str]:
        return self.chosen


def _key(text: str) -> str:
    """White space does not tell questions apart."""
    return " ".join(text.split())
