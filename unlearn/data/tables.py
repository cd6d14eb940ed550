"""Tables from files: JSON (an array, or one object a line), CSV, TSV, text, Parquet, Excel.

Any of them may be compressed with gzip. A table keeps the place of every record
("forget.jsonl:12"), so that a problem can point at it.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from unlearn.data.delimited import read_delimited
from unlearn.data.encodings import decode
from unlearn.data.foreign_files import FETCH, LARGEST_DATA, POINTER, file_problem, name_problem
from unlearn.data.records import Record, Table
from unlearn.data.spreadsheets import read_workbook
from unlearn.data.telling import shown
from unlearn.errors import DataError, first_line, said_by, translating

TEXT = "text"
"""The column of a plain text file."""


def read_table(path: Path, field: str, encoding: str | None = None) -> Table:
    """Read a file by its suffix; `field` is the option that named it, for messages.

    `encoding`: that of a text file; null: found out, and remarked. Raises DataError for a file that
    is missing, empty, of an unknown kind, or broken (with the line at which it breaks).
    """
    named = f"{field}={path}"
    suffix = kind_of(path)
    content = _content(path, named)
    if suffix in _BINARY:
        table = _BINARY[suffix](content, str(path))
    else:
        text, found = decode(content, str(path), encoding)
        table = _TEXTS[suffix](text, str(path))
        if found:
            table = replace(table, remarks=(f"read as {found}", *table.remarks))
    if not table.records:
        raise DataError(f"{named}: the file is empty, it has no rows.")
    return table


def read_whole(path: Path, field: str, encoding: str | None = None) -> tuple[str, str | None]:
    """Return the whole text of a file, and the encoding where :func:`decode` found one."""
    text, found = decode(_content(path, f"{field}={path}"), str(path), encoding)
    return "\n".join(_LINE_ENDS.split(text)).strip(), found


def kind_of(path: Path) -> str:
    """Return the suffix that says the format, in small letters and without .gz."""
    return Path(path.stem if path.suffix.lower() == GZIP else path.name).suffix.lower()


def _content(path: Path, named: str) -> bytes:
    """Return the bytes of a file of a kind that can be read, decompressed."""
    if problem := name_problem(str(path)):
        raise DataError(f"{shown(named)} {problem}; give a file with rows.")
    if not path.exists() and not path.is_symlink():
        raise DataError(f"{named}: no such file (looked in {path.absolute().parent}).")
    if problem := file_problem(path, LARGEST_DATA):
        raise DataError(f"{named}: {problem}; give a file with rows.")
    suffix = kind_of(path)
    if suffix not in SUFFIXES:
        raise DataError(
            f"{named}: unknown suffix {suffix or path.suffix!r}; readable are "
            f"{', '.join(SUFFIXES)}, and each with .gz behind it."
        )
    try:
        if path.suffix.lower() == GZIP:
            with gzip.open(path) as file:
                content = file.read(LARGEST_DATA + 1)
        else:
            content = path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{named}: not a readable gzip file ({error}).") from error
    except OSError as error:
        raise DataError(f"{named}: the file cannot be read ({error}).") from error
    if len(content) > LARGEST_DATA:
        raise DataError(
            f"{named}: unpacked it has over {LARGEST_DATA:,} bytes, the most there may be."
        )
    if content.startswith(POINTER):
        raise DataError(f"{named}: {FETCH}.")
    return content


def _read_json(text: str, source: str) -> Table:
    if text.lstrip().startswith("["):
        return _read_json_array(text, source)
    wrapped = _wrapped(text, source)
    if wrapped is not None:
        return wrapped
    if (alone := _one_object(text)) is not None:
        return _rows([alone], source)
    # Not splitlines(): it also splits at U+2028 and the like, which may stand inside a string.
    return _gathered(source, json_lines(text.split("\n"), source))


def json_lines(lines: Iterable[str], source: str) -> Iterator[tuple[str, Record]]:
    """Yield the object of every line that is not blank, with its place."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{source}:{number}"
        try:
            record = _loads(line)
        except TwiceError as error:
            raise DataError(f"{place}: {error}: {shown(line.rstrip())}.") from error
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{place}: not JSON ({_why(error)}): {shown(line.rstrip())}. "
                'A file holds one object a line, one array of objects, or {"data": [objects]}.'
            ) from error
        yield place, _object(record, place)


def _gathered(source: str, found: Iterable[tuple[str, Record]], remarks: Any = ()) -> Table:
    pairs = list(found)
    return Table(source, [record for _, record in pairs], [place for place, _ in pairs], remarks)


def _read_json_array(text: str, source: str) -> Table:
    try:
        records = _loads(text)
    except TwiceError as error:
        raise DataError(f"{source}: {error}.") from error
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise DataError(
            f"{source}:{line}: not JSON ({_why(error)}). "
            "The file begins with '[', so it is read as one array of objects."
        ) from error
    return _rows(records, source)


def _why(error: ValueError | RecursionError) -> str:
    """Return what is wrong with a text of JSON; Python reads no integer of 4,300 digits or more."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else first_line(error)


def _wrapped(text: str, source: str) -> Table | None:
    """Return the rows of ``{"data": [row, row]}``; None for what is no such file."""
    if not re.match(r'\s*\{[^{]*"data"\s*:\s*\[', text):
        return None
    try:
        whole = _loads(text)
    except TwiceError as error:
        raise DataError(f"{source}: {error}.") from error
    except (ValueError, RecursionError):  # lines of which each has a column "data", or broken ones
        return None
    if not isinstance(whole, dict) or not isinstance(whole.get("data"), list):
        return None
    others = [repr(name) for name in whole if name != "data"]
    remarks = ["its rows from 'data'"]
    remarks += [f"nothing from {', '.join(others)} beside it"] if others else []
    return replace(_rows(whole["data"], source), remarks=tuple(remarks))


def _one_object(text: str) -> Record | None:
    """Return the object of a file that holds one, spread over lines; None for any other file."""
    first, _, rest = text.strip().partition("\n")
    if not first.startswith("{") or first.rstrip().endswith("}") or not rest:
        return None
    try:
        whole = _loads(text)
    except (ValueError, RecursionError):
        return None  # lines, of which the first is broken
    return whole if isinstance(whole, dict) else None


class TwiceError(ValueError):
    """A key that stands twice in one object, of which JSON's readers keep the last."""


def _loads(text: str) -> Any:
    """Return what a JSON text holds; raises TwiceError besides what json raises."""
    return _DECODER.decode(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        key = next(name for name in names if names.count(name) > 1)
        raise TwiceError(f"the key {key!r} stands twice in one object; keep one of them")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_once)
"""Made once: `json.loads` makes one a line, which costs a quarter of the reading."""


def _rows(records: list[object], source: str) -> Table:
    return Table.numbered(
        source, [_object(row, f"{source}, row {n}") for n, row in enumerate(records, start=1)]
    )


def _object(record: object, place: str) -> Record:
    if not isinstance(record, dict):
        raise DataError(
            f"{place}: {shown(record)} is not an object; "
            'a row looks like {"question": "…", "answer": "…"}.'
        )
    return record


def _read_text(text: str, source: str) -> Table:
    return _gathered(source, paragraphs(_LINE_ENDS.split(text), source), PARAGRAPHS)


PARAGRAPHS = ("texts between blank lines (give a folder of .txt files to keep files whole)",)


def paragraphs(file: Iterable[str], source: str) -> Iterator[tuple[str, Record]]:
    """Take every paragraph for a text: blank lines stand between them."""
    lines: list[str] = []
    begins = 1
    for number, line in enumerate(chain(file, [""]), start=1):
        if line.strip():
            lines.append(line.removesuffix("\n"))
        elif lines:
            yield f"{source}:{begins}", {TEXT: "\n".join(lines)}
            lines = []
        if not lines:
            begins = number + 1


def _read_parquet(content: bytes, source: str) -> Table:
    import pyarrow
    from pyarrow import parquet

    records: list[Record] = []
    size = 0
    with translating(lambda e: DataError(f"{source}: not a readable Parquet file ({said_by(e)}).")):
        file = parquet.ParquetFile(pyarrow.BufferReader(content))
        for batch in file.iter_batches(batch_size=1024):  # a few bytes may stand for many rows
            size += batch.nbytes
            if size > LARGEST_DATA or len(records) > LARGEST_DATA // 64:
                raise DataError(
                    f"{source}: its rows have over {LARGEST_DATA:,} bytes, the most there may be."
                )
            records += batch.to_pylist()
    return Table.numbered(source, records)


_TEXTS: dict[str, Callable[[str, str], Table]] = {
    ".json": _read_json,
    ".jsonl": _read_json,
    ".csv": read_delimited,
    ".tsv": partial(read_delimited, tabs=True),
    ".txt": _read_text,
}
_BINARY: dict[str, Callable[[bytes, str], Table]] = {
    ".parquet": _read_parquet,
    ".xlsx": read_workbook,
}
SUFFIXES = (".json", ".jsonl", ".csv", ".parquet", ".tsv", ".txt", ".xlsx")
"""The kinds of files that can be read."""
GZIP = ".gz"
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
