"""Rows of one's own: a file to forget and a file to retain, in any usual format."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from unlearn.data.column_names import ADVICE, chosen_columns
from unlearn.data.columns import Columns, rows_of
from unlearn.data.conversations import unpacked, unread_of
from unlearn.data.encodings import encoding_problem
from unlearn.data.own_sources import read_source
from unlearn.data.records import Table
from unlearn.data.row_checks import checked, count_problems, cut
from unlearn.data.splits import Row, Splits
from unlearn.data.telling import counted, together
from unlearn.errors import ConfigurationError

log = logging.getLogger(__name__)


@dataclass
class Files:
    """Read what to forget and what to retain, each a file, a folder of texts or a data set.

    Files are JSON (array, lines, or {"data": [...]}), CSV, TSV, text, Parquet or Excel, also with
    .gz. Columns are found by their usual names, and one line of the log says which was taken for
    what, and which are not read.

    The rows trained on are also the rows scored, of those to retain a fixed sample where they are
    many: `retain_scored`. Of the optional columns, one that is named must
    stand in both files; one that is not named is taken under TOFU's name for it from a file that
    has it. They feed the truth ratio, so plain text and holdout rows do without them; rows of
    `general` have them or not.
    """

    forget: str | None = None
    """The rows to forget: a .json, .jsonl, .csv, .tsv, .txt, .parquet or .xlsx file, a folder of
    .txt files (each one text), a folder or hub id of a data set. Required."""
    retain: str | None = None
    """The rows to keep, in any of these forms. Required."""
    question: str | None = None
    """Column of the question; null: a usual name, such as question, prompt, instruction, 質問."""
    answer: str | None = None
    """Column of the answer, the text that is forgotten or kept; null: a usual name."""
    text: str | None = None
    """Column of plain text, in place of `question` and `answer`; null: a usual name, where no
    column is a question or an answer."""
    messages: str | None = None
    """Column of conversations, in their place: lists of turns whose last one is the answer, and
    those before it the prompt; null: messages or conversations."""
    encoding: str | None = None
    """Encoding of text files, such as cp932 or utf-16; null: found out, and said unless UTF-8."""
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
    retain_scored: int | None = 400
    """Most rows to retain that an evaluation scores and asks, at least 1: a sample that depends on
    nothing but their number, in their order. The rows to forget are always scored whole; null:
    all. Training takes every row in any case."""
    general: str | None = None
    """What must keep working, such as questions of the daily business: scored in every evaluation
    and guarded like retain, but never trained on; null: no such rows."""
    holdout: str | None = None
    """File of rows like the forgotten ones that no model here has seen; they are only scored."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError for missing files, and columns that contradict each other."""
        problems = [
            f"data.{name} is not set: give a file, a folder of .txt files or a hub id, "
            f"for example data.{name}=mine/{name}.jsonl."
            for name, path in (("forget", self.forget), ("retain", self.retain))
            if not path
        ]
        problems += [
            f"data.{name}={path} is no text; a path with brackets or braces is quoted: "
            f"'data.{name}=\"[a].jsonl\"'."
            for name in _FILES
            if (path := getattr(self, name)) and not isinstance(path, str)
        ]
        problems += self._contradictions()
        problems += count_problems("data.forget_rows", self.forget_rows)
        problems += count_problems("data.retain_rows", self.retain_rows)
        problems += count_problems("data.retain_scored", self.retain_scored)
        if problems:
            raise ConfigurationError(problems)

    def read(self) -> Splits:
        """Read all files; raises one DataError with the problems of all of them."""
        given = [name for name in _FILES if getattr(self, name) is not None]
        rows = together({name: partial(self._rows, name) for name in given})
        scored = rows | {"retain": sample(rows["retain"], self.retain_scored)}
        if (number := len(scored["retain"])) < len(rows["retain"]):
            log.info(
                "data.retain: %d of %s are scored, a fixed sample; data.retain_scored=null "
                "scores all",
                *(number, counted(len(rows["retain"]))),
            )
        return checked(Splits("files", rows["forget"], rows["retain"], evaluated=scored))

    def _rows(self, split: str) -> list[Row]:
        """Read the rows of one option, and say how where that is not as usual."""
        field = f"data.{split}"
        table = read_source(getattr(self, split), field, self.encoding)
        columns = self._columns(table, split)
        rows = rows_of(table, columns, ADVICE)
        _say(field, table, columns, rows)
        return cut(rows, getattr(self, f"{split}_rows", None), f"{field}_rows")

    def _contradictions(self) -> list[str]:
        """Say which options cannot go together, and which encoding nobody knows."""
        given = {"text": self.text, "messages": self.messages}
        problems = []
        if self.text is not None and self.messages is not None:
            problems.append(
                f"data.text={self.text} and data.messages={self.messages}: rows are texts or "
                "conversations, so unset one of the two."
            )
        elif any(given.values()):
            whole = "data.text" if self.text is not None else "data.messages"
            others = {"question": self.question, "answer": self.answer}
            problems += [
                f"data.{name}={value} has no meaning beside {whole}: unset one of the two."
                for name, value in others.items()
                # The names that a configuration of an earlier version writes down by itself.
                if value is not None and value != name
            ]
        columns = {name: getattr(self, name) for name in ("question", "answer", *_OPTIONAL)}
        if not any(given.values()):  # a column that is not named has its own name
            columns |= {name: columns[name] or name for name in ("question", "answer")}
        for name, column in columns.items():
            same = [other for other, of in columns.items() if of == column is not None]
            if same[0:1] == [name] and same[1:]:
                problems.append(
                    f"data.{name}={column} and data.{same[1]}={column} name one column; a question "
                    "is no answer, and an answer not its own paraphrase: name another column."
                )
        if self.text is not None:
            problems += [
                f"data.{name}={value} has no meaning for plain text: unset it, or unset data.text."
                for name, value in self._named_optional_columns().items()
            ]
        if self.encoding is not None and (problem := encoding_problem(self.encoding)):
            problems.append(problem)
        return problems

    def _columns(self, table: Table, split: str) -> Columns:
        """Choose the columns for the table of a split; holdout does without the optional ones."""
        columns = chosen_columns(table, self.question, self.answer, self.text, self.messages)
        if split == "holdout" or (columns.question is None and not columns.turns):
            return columns
        there = {name: name for name in _OPTIONAL if name in table.columns}
        named = self._named_optional_columns()
        if split == "general":  # rows of another kind, which need not have them
            named = {name: column for name, column in named.items() if column in table.columns}
        optional: dict[str, Any] = there | named
        return replace(columns, **optional)

    def _named_optional_columns(self) -> dict[str, str]:
        named = {name: getattr(self, name) for name in _OPTIONAL}
        return {name: column for name, column in named.items() if column is not None}


def rows_from(given: str, field: str, columns: Mapping[str, Any] | None = None) -> list[Row]:
    """Return the rows of one source; `field` names it in messages.

    `columns`: what :class:`Files` is told of columns and encoding, by its names.
    """
    reader = Files(given, given, **(columns or {}))
    table = read_source(given, field, reader.encoding)
    chosen = reader._columns(table, "general")
    rows = rows_of(table, chosen, ADVICE)
    _say(field, table, chosen, rows)
    return rows


_FILES = ("forget", "retain", "general", "holdout")
_OPTIONAL = ("paraphrased_answer", "perturbed_answer", "paraphrased_question")


def sample(rows: list[Row], most: int | None) -> list[Row]:
    """Return at most so many rows in their order, the same ones whenever there are as many."""
    if most is None or len(rows) <= most:
        return rows
    return [rows[place] for place in sorted(random.Random(0).sample(range(len(rows)), most))]


def _say(field: str, table: Table, columns: Columns, rows: list[Row]) -> None:
    """Say in one line what was taken from where and what is not read, unless all is as usual."""
    if columns.turns:
        taken = f"conversations from {columns.answer!r}, of which the last turn is the answer"
    elif columns.question is None:
        taken = f"text from {columns.answer!r}"
    else:
        more = f" and {columns.appended!r}" if columns.appended else ""
        taken = f"question from {columns.question!r}{more}, answer from {columns.answer!r}"
    said = [*table.remarks, taken]
    earlier = sum(any(turn.role == "assistant" for turn in row.before) for row in rows)
    if earlier:
        said.append(f"earlier answers, in {counted(earlier)}, are prompt alone")
    read = columns.names()
    left = [repr(name) for name in table.columns if name not in read]
    inside = (unread_of(unpacked(record.get(name))) for record in table.records for name in read)
    extras = dict.fromkeys(key for keys in inside for key in keys)
    left += [f"{key!r} of turns" for key in extras]
    if left:
        said.append(f"not read: {', '.join(left)}")
    if len(said) > 1 or (columns.question, columns.answer) != ("question", "answer"):
        log.info("%s: %s of %s; %s", field, counted(len(rows)), table.source, "; ".join(said))
