"""Rows of one's own: a file to forget, a file to retain, in JSON, JSON lines, CSV or Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unlearn.data.columns import Columns, rows_of
from unlearn.data.row_checks import checked, count_problems, cut, noted
from unlearn.data.splits import Row, Splits
from unlearn.data.tables import Table, read_table
from unlearn.errors import ConfigurationError, DataError

_COLUMN_ADVICE = (
    "Name yours with data.question=… and data.answer=…, or data.text=… for plain text; "
    "optional are data.paraphrased_answer, data.perturbed_answer, data.paraphrased_question."
)


@dataclass
class Files:
    """Read a forget file and a retain file; the suffix says the format of each.

    The rows trained on are also the rows scored. Of the optional columns, one that is named must
    stand in both files; one that is not named is taken under TOFU's name for it from a file that
    has it. They feed the truth ratio, so plain text and holdout rows do without them.
    """

    forget: str | None = None
    """File of the rows to forget: .json (array or lines), .jsonl, .csv or .parquet. Required."""
    retain: str | None = None
    """File of the rows to keep, in any of these formats. Required."""
    question: str = "question"
    """Column of the question."""
    answer: str = "answer"
    """Column of the answer, the text that is forgotten or kept."""
    text: str | None = None
    """Column of plain text; when set, `question` and `answer` are not used."""
    paraphrased_answer: str | None = None
    """Column of the answer in other words; null: "paraphrased_answer" where a file has it."""
    perturbed_answer: str | None = None
    """Column of the list of wrong answers; null: "perturbed_answer" where a file has it."""
    paraphrased_question: str | None = None
    """Column of the question in other words; null: "paraphrased_question" where a file has it."""
    forget_rows: int | None = None
    """Take only the first so many rows to forget, at least 1; null: all."""
    retain_rows: int | None = None
    """Take only the first so many rows to retain, at least 1; null: all."""
    holdout: str | None = None
    """File of rows like the forgotten ones that no model here has seen; they are only scored."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for missing files, and columns that contradict each other."""
        problems = [
            f"data.{name} is not set: give a .json, .jsonl, .csv or .parquet file, "
            f"for example data.{name}=mine/{name}.jsonl."
            for name, path in (("forget", self.forget), ("retain", self.retain))
            if not path
        ]
        if self.text is not None:
            problems += [
                f"data.{name}={value} has no meaning for plain text: unset it, or unset data.text."
                for name, value in self._named_optional_columns().items()
            ]
        problems += count_problems("data.forget_rows", self.forget_rows)
        problems += count_problems("data.retain_rows", self.retain_rows)
        if problems:
            raise ConfigurationError(problems)

    def read(self) -> Splits:
        """Read all files; raises one DataError with the problems of all of them."""
        problems: list[str] = []
        rows: dict[str, list[Row]] = {}
        paths = {"forget": self.forget, "retain": self.retain, "holdout": self.holdout}
        counts = {"forget": self.forget_rows, "retain": self.retain_rows}
        for name, path in paths.items():
            if path is None:
                continue
            with noted(problems):
                table = read_table(Path(path).expanduser(), f"data.{name}")
                columns = self._columns(table, plain=name == "holdout")
                found = rows_of(table, columns, _COLUMN_ADVICE)
                rows[name] = cut(found, counts.get(name), f"data.{name}_rows")
        if problems:
            raise DataError(problems)
        return checked(Splits("files", rows["forget"], rows["retain"], evaluated=rows))

    def _columns(self, table: Table, plain: bool) -> Columns:
        """Choose the columns for a table; `plain` leaves the optional ones out."""
        if self.text is not None:
            return Columns(question=None, answer=self.text)
        if plain:
            return Columns(self.question, self.answer)
        there = {name: name for name in _OPTIONAL if name in table.columns}
        return Columns(self.question, self.answer, **(there | self._named_optional_columns()))

    def _named_optional_columns(self) -> dict[str, str]:
        named = {name: getattr(self, name) for name in _OPTIONAL}
        return {name: column for name, column in named.items() if column is not None}


_OPTIONAL = ("paraphrased_answer", "perturbed_answer", "paraphrased_question")
