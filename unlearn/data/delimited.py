"""CSV and its like: cells between commas, semicolons, tabs or bars, as the header shows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator

from unlearn.data.records import Record, Table
from unlearn.data.telling import shown
from unlearn.errors import DataError

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def read_delimited(text: str, source: str, tabs: bool = False) -> Table:
    """Read the text of a CSV file, or of a TSV file for `tabs`.

    What stands between cells is what divides the header; of several, the one that gives every line
    as many cells as the header. Raises DataError with the line of a cell too many or too few.
    """
    delimiter, told = divider(text, tabs)
    lines = io.StringIO(text, newline="")
    found = list(records_between(lines, delimiter, source, told))
    usual = delimiter == ("\t" if tabs else ",")
    remark = f"{_DELIMITERS.get(delimiter, repr(delimiter))} between its cells"
    places, records = [place for place, _ in found], [record for _, record in found]
    return Table(source, records, places, () if usual else (remark,))


def divider(text: str, tabs: bool = False) -> tuple[str, bool]:
    """Return what stands between the cells of a text, and whether its first line says so."""
    rest, told = _announced(text)
    return "\t" if tabs else told or _delimiter(rest), told is not None


def records_between(
    lines: Iterable[str], delimiter: str, source: str, told: bool = False
) -> Iterator[tuple[str, Record]]:
    """Yield every record of the lines of a file with its place; `told`: the first line is no row.

    The ends of the lines must be left as they are. Raises DataError with the line of a cell too
    many or too few.
    """
    lines = iter(lines)
    offset = 1 if told else 0
    if told:
        next(lines, None)
    rows = _rows(lines, delimiter)
    begins = 1 + offset
    try:
        ends, header = next(rows, (0, []))
        if len(set(header)) < len(header):
            raise DataError(
                f"{source}:{begins}: a column name stands twice in the header {shown(header)}."
            )
        begins = ends + offset + 1
        for ends, cells in rows:
            if cells and len(cells) != len(header):
                raise DataError(
                    f"{source}:{begins}: {len(cells)} cells under a header of {len(header)}, with "
                    f"{_DELIMITERS.get(delimiter, repr(delimiter))} between: {shown(cells)}. Put "
                    f'text that holds {delimiter!r} in double quotes ("…").'
                )
            if cells:
                yield f"{source}:{begins}", dict(zip(header, cells, strict=True))
            begins = ends + offset + 1  # a quoted cell may run over several lines
    except csv.Error as error:
        raise DataError(f"{source}:{begins}: not CSV ({error}).") from error


def _announced(text: str) -> tuple[str, str | None]:
    """Take off the first line `sep=;`, by which Excel is told what stands between cells."""
    found = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)
    return (text[found.end() :], found[1]) if found else (text, None)


def _delimiter(text: str) -> str:
    """Return what divides the header; the comma where nothing does."""
    counts: dict[str, tuple[bool, int]] = {}
    for delimiter in _DELIMITERS:
        try:
            lines = io.StringIO(text, newline="")
            lengths = [len(cells) for _, cells in _rows(lines, delimiter) if cells]
        except csv.Error:  # is told where the file is read
            lengths = [len(next(iter(csv.reader(io.StringIO(text), delimiter=delimiter)), []))]
        if lengths and lengths[0] > 1:
            counts[delimiter] = len(set(lengths)) == 1, lengths[0]
    # The first of several as good, so the comma ahead of all others.
    return max(counts, key=lambda delimiter: counts[delimiter], default=",")


def _rows(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of every row, with the number of the line on which it ends."""
    # The csv module refuses cells of more than 128 KiB, and a passage of a book may be longer.
    usual_limit = csv.field_size_limit(2**31 - 1)
    try:
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        for cells in rows:
            yield rows.line_num, cells
    finally:
        csv.field_size_limit(usual_limit)
