"""Rows of an Excel workbook, read with openpyxl (the extra `excel`)."""

from __future__ import annotations

import io
import zipfile
from itertools import zip_longest
from typing import Any

from unlearn.data.foreign_files import LARGEST_DATA
from unlearn.data.records import Record, Table
from unlearn.errors import DataError, said_by, to_install


def read_workbook(content: bytes, source: str) -> Table:
    """Read the one sheet of an .xlsx workbook that has cells; its first row is the header.

    Whole numbers are the text that the sheet shows. Raises DataError for a second sheet with cells,
    a cell without a header, and where openpyxl is not installed.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise DataError(
            f"{source}: .xlsx files need openpyxl, which is not installed: "
            f"{to_install('excel')}, or save the sheet as CSV (UTF-8)."
        ) from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            if (size := sum(part.file_size for part in parts.infolist())) > LARGEST_DATA:
                raise ValueError(f"unpacked it has {size:,} bytes; at most {LARGEST_DATA:,}")
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheets = {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}
        book.close()
    # A broken workbook fails in zipfile, in an XML parser or in openpyxl, each in its own way.
    except Exception as error:
        raise DataError(f"{source}: not a readable .xlsx file ({said_by(error)}).") from error
    filled = {name: rows for name, rows in sheets.items() if any(map(_filled, rows))}
    if len(filled) > 1:
        raise DataError(
            f"{source}: {len(filled)} sheets have cells ({', '.join(map(repr, filled))}); leave "
            "one, or save the one that is meant as CSV (UTF-8)."
        )
    return Table(source, *_records(next(iter(filled.values()), []), source))


def _records(rows: list[tuple[Any, ...]], source: str) -> tuple[list[Record], list[str]]:
    header = ["" if cell is None else str(cell) for cell in (rows or [()])[0]]
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise DataError(f"{source}, row 1: a column name stands twice in the header {named}.")
    records: list[Record] = []
    places: list[str] = []
    for number, cells in enumerate(rows[1:], start=2):
        if not _filled(cells):
            continue
        record: Record = {}
        for name, cell in zip_longest(header, cells):  # a row may be shorter
            if name:
                whole = isinstance(cell, int) and not isinstance(cell, bool)
                record[name] = str(cell) if whole else cell
            elif cell is not None:
                raise DataError(
                    f"{source}, row {number}: {cell!r} stands in a column without a name; the "
                    "first row of the sheet names the columns."
                )
        records.append(record)
        places.append(f"{source}, row {number}")
    return records, places


def _filled(cells: tuple[Any, ...]) -> bool:
    return any(cell is not None for cell in cells)
