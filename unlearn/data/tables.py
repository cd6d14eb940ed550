"""Tables from files: JSON (an array, or one object a line), CSV and Parquet.

A table keeps the place of every record ("forget.jsonl:12"), so that a problem can point at it.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

from unlearn.data.row_checks import shown
from unlearn.errors import DataError

Record = dict[str, object]
SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")
"""The kinds of files that can be read."""


@dataclass(frozen=True)
class Table:
    """The records of one source, each with the place where a person finds it."""

    source: str
    records: list[Record]
    places: list[str]

    @property
    def columns(self) -> list[str]:
        """Every column name, in order of first appearance: JSON records need not agree."""
        return list(dict.fromkeys(name for record in self.records for name in record))


def read_table(path: Path, field: str) -> Table:
    """Read a file by its suffix; `field` is the option that named it, for messages.

    Raises DataError for a file that is missing, empty, of an unknown kind, or broken (with the
    line at which it breaks).
    """
    readers = dict(zip(SUFFIXES, (_read_json, _read_json, _read_csv, _read_parquet), strict=True))
    named = f"{field}={path}"
    if not path.is_file():
        problem = "is a folder, give a file" if path.is_dir() else "no such file"
        raise DataError(f"{named}: {problem} (looked in {path.absolute().parent}).")
    reader = readers.get(path.suffix.lower())
    if reader is None:
        allowed = ", ".join(readers)
        raise DataError(f"{named}: unknown suffix {path.suffix!r}; readable are {allowed}.")
    try:
        table = reader(path)
    except OSError as error:
        raise DataError(f"{named}: the file cannot be read ({error}).") from error
    if not table.records:
        raise DataError(f"{named}: the file is empty, it has no rows.")
    return table


def _read_json(path: Path) -> Table:
    text = _text(path)
    if text.lstrip().startswith("["):
        return _read_json_array(path, text)
    records: list[Record] = []
    places: list[str] = []
    # Not splitlines(): it also splits at U+2028 and the like, which may stand inside a string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{place}: not JSON ({error.msg}, column {error.colno}): {shown(line)}. "
                "A file holds one object a line, or one array of objects."
            ) from error
        records.append(_object(record, place))
        places.append(place)
    return Table(str(path), records, places)


def _read_json_array(path: Path, text: str) -> Table:
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}: not JSON ({error.msg}, column {error.colno}). "
            "The file begins with '[', so it is read as one array of objects."
        ) from error
    places = [f"{path}, row {number}" for number in range(1, len(records) + 1)]
    return Table(str(path), [_object(*pair) for pair in zip(records, places, strict=True)], places)


def _object(record: object, place: str) -> Record:
    if not isinstance(record, dict):
        raise DataError(
            f"{place}: {shown(record)} is not an object; "
            'a row looks like {"question": "…", "answer": "…"}.'
        )
    return record


def _read_csv(path: Path) -> Table:
    # The csv module refuses cells of more than 128 KiB, and a passage of a book may be longer.
    usual_limit = csv.field_size_limit(2**31 - 1)
    rows = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    records: list[Record] = []
    places: list[str] = []
    begins = 1
    try:
        header = next(rows, [])
        if len(set(header)) < len(header):
            raise DataError(f"{path}:1: a column name stands twice in the header {header}.")
        begins = rows.line_num + 1
        for cells in rows:
            if cells and len(cells) != len(header):
                raise DataError(
                    f"{path}:{begins}: {len(cells)} cells under a header of {len(header)}: "
                    f'{shown(cells)}. Put text that holds a comma in double quotes ("…").'
                )
            if cells:
                records.append(dict(zip(header, cells, strict=True)))
                places.append(f"{path}:{begins}")
            begins = rows.line_num + 1  # a quoted cell may run over several lines
    except csv.Error as error:
        raise DataError(f"{path}:{begins}: not CSV ({error}).") from error
    finally:
        csv.field_size_limit(usual_limit)
    return Table(str(path), records, places)


def _read_parquet(path: Path) -> Table:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            records = file.read().to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}).") from error
    return Table(str(path), records, [f"{path}, row {n}" for n in range(1, len(records) + 1)])


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8.") from error
