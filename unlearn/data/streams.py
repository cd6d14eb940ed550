"""Rows of files that no memory holds, one after the other and as often as asked for.

Lines of JSON, CSV, TSV, text and Parquet are streamed, also out of .gz. All else that can be read
is read whole: an array of JSON, Excel, an encoding that has to be found out, a folder, a data set
of the hub.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

from unlearn.data.delimited import divider, records_between
from unlearn.data.foreign_files import FETCH, POINTER, file_problem, name_problem
from unlearn.data.own_sources import read_source
from unlearn.data.records import Record, Table
from unlearn.data.tables import GZIP, PARAGRAPHS, json_lines, kind_of, paragraphs
from unlearn.data.telling import shown
from unlearn.errors import DataError, said_by, translating

Placed = tuple[str, Record]
SAMPLE = 2**20
"""Bytes by which the encoding and what stands between cells are told."""
PEEKED = 1000
"""Records by which the columns are told."""
_BATCH = 1024
_STREAMED = (".json", ".jsonl", ".csv", ".tsv", ".txt", ".parquet")
_LARGEST = 2**50


@dataclass(frozen=True)
class Stream:
    """One source; `records` begins anew at every call."""

    source: str
    records: Callable[[], Iterator[Placed]]
    remarks: tuple[str, ...] = ()

    def peeked(self) -> Table:
        """Return the first records as a table."""
        first = list(islice(self.records(), PEEKED))
        return Table(self.source, [r for _, r in first], [p for p, _ in first], self.remarks)


def open_stream(given: str, field: str, encoding: str | None = None) -> Stream:
    """Find out how a source is read; raises DataError for one that is missing or no reader's.

    `field` is the option that named it, for messages; `encoding` null is found out.
    """
    path = Path(given)
    problem = name_problem(given)
    if problem is None and kind_of(path) in _STREAMED and path.is_file():
        if problem := file_problem(path, _LARGEST):
            raise DataError(f"{field}={given}: {problem}; give a file with rows.")
        streamed = _streamed(path, field, encoding)
        if streamed is not None:
            return streamed
    table = read_source(given, field, encoding)
    pairs = list(zip(table.places, table.records, strict=True))
    return Stream(table.source, lambda: iter(pairs), table.remarks)


def _streamed(path: Path, field: str, encoding: str | None) -> Stream | None:
    """Return the stream of a file; None where it has to be read whole."""
    kind = kind_of(path)
    if kind == ".parquet":
        packed = path.suffix.lower() == GZIP
        return None if packed else Stream(str(path), partial(_parquet, path))
    named = f"{field}={path}"
    with _opened(path, named) as file:
        sample = file.read(SAMPLE)
    if sample.startswith(POINTER):
        raise DataError(f"{named}: {FETCH}.")
    if not sample.strip():
        raise DataError(f"{named}: the file is empty, it has no rows.")
    text = _text_of(sample, encoding)
    if text is None:
        return None
    lines = partial(_lines, path, named, encoding or "utf-8-sig")
    source = str(path)
    if kind in (".csv", ".tsv"):
        whole = text if len(sample) < SAMPLE else text[: text.rfind("\n") + 1] or text
        delimiter, told = divider(whole, kind == ".tsv")
        return Stream(source, lambda: records_between(lines(""), delimiter, source, told))
    if kind == ".txt":
        return Stream(source, lambda: paragraphs(lines(None), source), PARAGRAPHS)
    if not _is_lines(text):
        return None
    return Stream(source, lambda: json_lines(lines("\n"), source))


def _text_of(sample: bytes, encoding: str | None) -> str | None:
    """Return the beginning of a file as text; None where nobody said how, and it is not UTF-8."""
    mark = sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # UTF-32's begin alike
    if encoding is None and (mark or b"\0" in sample):
        return None
    try:
        decoder = codecs.getincrementaldecoder(encoding or "utf-8-sig")()
        return decoder.decode(sample).removeprefix("\ufeff")
    except UnicodeError:
        return None  # the reader of the whole file says what is wrong with it


def _is_lines(text: str) -> bool:
    """Whether JSON holds one object a line, and is no array and no ``{"data": [...]}``."""
    first, _, rest = text.lstrip().partition("\n")
    if first.startswith("["):
        return False
    wraps = re.match(r'\{[^{]*"data"\s*:\s*\[', text.lstrip())
    # Of one line or of many lines to an object; a broken first line is told by its own number.
    return not wraps or (first.rstrip().endswith("}") and bool(rest.strip()))


def _lines(path: Path, named: str, encoding: str, newline: str | None) -> Iterator[str]:
    number = 0
    with _opened(path, named) as file:
        text = io.TextIOWrapper(cast(IO[bytes], file), encoding=encoding, newline=newline)
        try:
            for number, line in enumerate(text, start=1):
                yield line.removeprefix("\ufeff") if number == 1 else line
        except UnicodeError as error:
            told = encoding.removesuffix("-sig").upper()
            raise DataError(
                f"{path}: not {told} text a little behind line {number} ({said_by(error)}), "
                "although its beginning is; mend the file, or name the encoding with "
                "data.encoding=…"
            ) from error


@contextmanager
def _opened(path: Path, named: str) -> Iterator[Any]:
    packed = path.suffix.lower() == GZIP
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{named}: not a readable gzip file ({error}).") from error
    except OSError as error:
        raise DataError(f"{named}: the file cannot be read ({error}).") from error


def _parquet(path: Path) -> Iterator[Placed]:
    from pyarrow import parquet

    told = f"{shown(str(path))}: not a readable Parquet file"
    number = 0
    with translating(lambda error: DataError(f"{told} ({said_by(error)}).")):
        file = parquet.ParquetFile(path)
        batches = file.iter_batches(batch_size=_BATCH)
    while True:
        # Only the library's own calls: what the reader of the rows raises is no matter of the file.
        with translating(lambda error: DataError(f"{told} ({said_by(error)}).")):
            batch = next(batches, None)
            records = [] if batch is None else batch.to_pylist()
        if batch is None:
            return
        for record in records:
            number += 1
            yield f"{path}, row {number}", record
