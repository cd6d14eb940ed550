"""From a table to rows: which column holds what, and what a cell must be."""

from __future__ import annotations

from dataclasses import dataclass, fields

from unlearn.data.blank import is_blank
from unlearn.data.conversations import is_turns, parted, turns_of, unpacked
from unlearn.data.records import Record, Table
from unlearn.data.splits import Row, Turn
from unlearn.data.telling import few, shown
from unlearn.errors import DataError

KINDS = 20
"""Kinds of faults that are told at once; a fault that names a value is a kind of its own."""


@dataclass(frozen=True)
class Columns:
    """The column of each field of a row; None where the data has no such thing."""

    question: str | None = "question"
    """None for plain text, whose rows have no question, and for conversations."""
    answer: str = "answer"
    appended: str | None = None
    """Goes behind the question on a line of its own where a row has it, as Alpaca's `input`."""
    turns: bool = False
    """Whether `answer` holds whole conversations."""
    paraphrased_answer: str | None = None
    perturbed_answer: str | None = None
    """Holds a list of wrong answers; in CSV, a JSON list."""
    paraphrased_question: str | None = None

    def names(self) -> list[str]:
        """The columns that a table must have."""
        named = (getattr(self, one.name) for one in fields(self) if one.name != "turns")
        return [name for name in named if name is not None]


def rows_of(table: Table, columns: Columns, advice: str) -> list[Row]:
    """Turn records into rows; `advice` says what to do about a missing column.

    Raises DataError that lists every missing column, or every kind of bad cell (null, not text,
    blank) with its first place and record.
    """
    there = table.columns
    missing = [name for name in columns.names() if name not in there]
    if missing:
        raise DataError(missing_columns(table, missing, advice))
    rows: list[Row] = []
    faults: dict[str, list[int]] = {}
    for index, record in enumerate(table.records):
        try:
            rows.append(_row(record, columns))
        except ValueError as fault:
            faults.setdefault(str(fault), []).append(index)
    if faults:
        told = [_told(table, fault, indices) for fault, indices in faults.items()]
        more = [f"… and {len(told) - KINDS} more kinds of faults."] if len(told) > KINDS else []
        raise DataError(told[:KINDS] + more)
    return rows


def missing_columns(table: Table, missing: list[str], advice: str) -> str:
    """Say which columns a table lacks, and which it has."""
    there = few([shown(name) for name in table.columns], most=20) or "none"
    lacking = " and no column ".join(map(repr, missing))
    return f"{table.source} has no column {lacking}; its columns are {there}. {advice}"


def _row(record: Record, columns: Columns) -> Row:
    before, question, answer = _asked(record, columns)
    return Row(
        question=question,
        answer=answer,
        before=before,
        paraphrased_answer=_optional_text(record, columns.paraphrased_answer),
        perturbed_answers=_texts(record, columns.perturbed_answer),
        paraphrased_question=_optional_text(record, columns.paraphrased_question),
    )


def _asked(record: Record, columns: Columns) -> tuple[tuple[Turn, ...], str, str]:
    """Return what goes before, question and answer; either of the two may be a list of turns."""
    if columns.turns:
        return parted(turns_of(unpacked(record.get(columns.answer)), columns.answer))
    if columns.question is None:
        return (), "", _text(record, columns.answer)
    question, answer = record.get(columns.question), record.get(columns.answer)
    if not is_turns(question) and not is_turns(answer):
        text = _text(record, columns.question)
        more = None if columns.appended is None else record.get(columns.appended)
        if columns.appended is not None and more is not None and more != "":
            text = f"{text}\n{_text(record, columns.appended)}"
        return (), text, _text(record, columns.answer)
    turns: list[Turn] = []
    for column, cell, role in (
        (columns.question, question, "user"),
        (columns.answer, answer, "assistant"),
    ):
        if is_turns(cell):
            turns += turns_of(cell, column)
        else:
            turns.append(Turn(role, _text(record, column)))
    return parted(turns)


def _text(record: Record, column: str) -> str:
    cell = record.get(column)
    if cell is None:
        raise ValueError(f"{column!r} is null or absent")
    if not isinstance(cell, str):
        raise ValueError(f"{column!r} is not text but {type(cell).__name__}")
    if is_blank(cell):
        raise ValueError(f"{column!r} is blank")
    return cell


def _optional_text(record: Record, column: str | None) -> str | None:
    return None if column is None else _text(record, column)


def _texts(record: Record, column: str | None) -> tuple[str, ...]:
    if column is None:
        return ()
    cell = unpacked(record.get(column))
    if not isinstance(cell, list) or not cell:
        raise ValueError(f'{column!r} is not a list of wrong answers such as ["a", "b"]')
    return tuple(_text({column: text}, column) for text in cell)


def _told(table: Table, fault: str, indices: list[int]) -> str:
    more = f" ({len(indices)} such rows)" if len(indices) > 1 else ""
    first = indices[0]
    return f"{table.places[first]}: {fault}: {shown(table.records[first], 160)}{more}."
