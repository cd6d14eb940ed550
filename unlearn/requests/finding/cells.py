"""A row as it is searched, and as it is written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from unlearn.data.column_names import ADVICE, ANSWER, QUESTION, TEXT, TURNS
from unlearn.data.columns import Columns, rows_of
from unlearn.data.conversations import is_turns
from unlearn.data.records import Record, Table

BECAUSE, IN = "found_because", "found_in"
"""Columns that a found row has besides its own; no reader takes them for something else."""
_USUAL = {*QUESTION, *ANSWER, *TEXT, *TURNS}


def text_of(record: Mapping[str, object]) -> str:
    """Return all that a row says, in whatever column, one cell a line."""
    cells = list(record.values())
    try:
        return "\n".join(cells)  # type: ignore[arg-type]  # as in most data
    except TypeError:
        return "\n".join(_texts(cells))


def _texts(cell: object) -> Iterator[str]:
    if isinstance(cell, str):
        yield cell
    elif isinstance(cell, Mapping):
        yield from _texts(list(cell.values()))
    elif isinstance(cell, list | tuple):
        for one in cell:
            yield from _texts(one)
    elif cell is not None and not isinstance(cell, bool):
        yield str(cell)


def written_row(record: Record, columns: Columns, place: str, reason: str) -> dict[str, object]:
    """Return a row as the files hold it: with usual names of its columns, a reason and a place.

    Raises DataError for one that nobody can train on.
    """
    (row,) = rows_of(Table(place, [record], [place]), columns, ADVICE)
    if columns.turns:
        own: dict[str, object] = {"messages": record[columns.answer]}
    elif columns.question is None:
        own = {"text": row.answer}
    else:
        asked = record[columns.question]
        own = {"question": asked if is_turns(asked) else row.question}
        own["answer"] = record[columns.answer]
    others = {
        name: cell
        for name, cell in record.items()
        if name not in columns.names() and name.strip().casefold() not in _USUAL
    }
    return {**own, **others, BECAUSE: reason, IN: place}
