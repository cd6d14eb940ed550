"""Alternative answers of a file, found by the text of the question."""

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
from unlearn.objectives.base import Objective
from unlearn.objectives.other_answers import require_questions
from unlearn.options.declared import Range, option, range_problems

COLUMN = Range("a column's name", bool)


@dataclass
class AlternativesFile(Objective):
    """An objective whose other answers stand in a file, for the forget rows.

    The alternatives are found by the text of the question, up to white space. Rows that share a
    question take its alternatives in the order of the file, and from the first again where there
    are fewer of them than rows; what no row takes is left unused.
    """

    examples = ("method.forget.alternatives=mine/alternatives.jsonl",)
    does_without = "idk_dpo"
    """The objective that prefers refusals instead, and needs no file."""

    alternatives: str | None = option(None, Range("a file, required"))
    """File of questions with alternative answers: .json, .jsonl, .csv or .parquet."""
    question: str = option("question", COLUMN)
    """Its column of questions."""
    answer: str = option("answer", COLUMN)
    """Its column of alternative answers."""

    def __post_init__(self) -> None:
        problems = range_problems(self)
        if self.question == self.answer:
            problems.append(f"answer: {self.answer!r} is the column of the question as well")
        if not self.alternatives:
            problems.append(
                "alternatives: not set; give a .json, .jsonl, .csv or .parquet file with a "
                "question and an alternative answer a row, method.forget.alternatives=FILE; "
                f"{self.does_without} does without one: it prefers refusals"
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
                f"found by its text), or use {self.does_without}, which needs no file"
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
        """Return the alternative answer of each of the task's rows."""
        return self.chosen


def _key(text: str) -> str:
    """White space does not tell questions apart."""
    return " ".join(text.split())
