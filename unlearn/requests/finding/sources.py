"""The training data of a search: every file with its columns, told before a row is searched."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from unlearn.data.column_names import ADVICE, chosen_columns
from unlearn.data.columns import Columns, missing_columns
from unlearn.data.encodings import encoding_problem
from unlearn.data.records import Record
from unlearn.data.streams import Stream, open_stream
from unlearn.data.telling import few, together
from unlearn.errors import DataError

log = logging.getLogger(__name__)

SAID_EVERY = 10.0
"""Seconds between lines that say how far a pass is."""


@dataclass(frozen=True)
class Reading:
    """How the columns of the data are called; null finds out, as in `data=files`."""

    question: str | None = None
    answer: str | None = None
    text: str | None = None
    messages: str | None = None
    encoding: str | None = None


class Data:
    """All sources, as one numbered stream of rows."""

    def __init__(self, given: Sequence[str], reading: Reading) -> None:
        """Open every source; raises one DataError with the problems of all."""
        if reading.encoding is not None and (problem := encoding_problem(reading.encoding)):
            raise DataError(problem)
        if not given:
            raise DataError("no data: name the files with the training rows")
        twice = [one for one in dict.fromkeys(given) if list(given).count(one) > 1]
        if twice:
            raise DataError(f"DATA={few(twice)}: named twice; every row would be found twice")
        opened = together({one: partial(_opened, one, reading) for one in given})
        self.streams = [stream for stream, _, _ in opened.values()]
        self.columns = [columns for _, columns, _ in opened.values()]
        self.names = list(dict.fromkeys(name for _, _, names in opened.values() for name in names))
        kinds = {one: _kind(columns) for one, (_, columns, _) in opened.items()}
        if len(set(kinds.values())) > 1:
            told = "; ".join(f"{one} has {kind}" for one, kind in kinds.items())
            raise DataError(
                f"DATA: one file of rows to forget holds one kind of rows, and here {told}; "
                "search each kind by itself, or say with --question, --answer, --text or "
                "--messages what is meant"
            )

    @property
    def kind(self) -> str:
        """What the rows are, in words."""
        return _kind(self.columns[0])

    def rows(self, title: str) -> Iterator[tuple[int, int, str, Record]]:
        """Yield (number, source, place, record) of every row, and say how far it is."""
        began = said = time.monotonic()
        number = 0
        for source, stream in enumerate(self.streams):
            for place, record in stream.records():
                yield number, source, place, record
                number += 1
                if number % 5000 == 0 and (now := time.monotonic()) - said > SAID_EVERY:
                    said = now
                    rate = number / (now - began)
                    log.info("%s: %s rows, %s a second", title, f"{number:,}", f"{rate:,.0f}")


def _opened(given: str, reading: Reading) -> tuple[Stream, Columns, list[str]]:
    stream = open_stream(given, "DATA", reading.encoding)
    table = stream.peeked()
    if not table.records:
        raise DataError(f"DATA={given}: the file is empty, it has no rows.")
    columns = chosen_columns(
        table, reading.question, reading.answer, reading.text, reading.messages
    )
    if missing := [name for name in columns.names() if name not in table.columns]:
        raise DataError(missing_columns(table, missing, ADVICE))
    return stream, columns, table.columns


def _kind(columns: Columns) -> str:
    if columns.turns:
        return "conversations"
    return "texts" if columns.question is None else "questions with answers"
