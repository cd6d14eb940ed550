"""Found rows on the disk, in the order of the data, until all is known about them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from unlearn.data.records import Record
from unlearn.requests.finding.evidence import Evidence


@dataclass(frozen=True)
class Found:
    """A row that names the subject, or may, or is near to one that does."""

    number: int
    """Of the row in all data, from 0."""
    source: int
    place: str
    record: Record
    evidence: Evidence


class Spool:
    """A file of found rows that is written once and read as often as needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._file: IO[str] | None = path.open("x", encoding="utf-8")

    def add(self, found: Found) -> None:
        """Append a row."""
        assert self._file is not None, "a spool is written before it is read"
        # Parquet has dates and numbers that JSON has not: as the text that a person would write.
        self._file.write(json.dumps(asdict(found), ensure_ascii=True, default=str) + "\n")
        self.rows += 1

    def __iter__(self) -> Iterator[Found]:
        if self._file is not None:
            self._file.close()
            self._file = None
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                held = json.loads(line)
                evidence: dict[str, Any] = {
                    name: tuple(value) if name in ("spelt", "changed") else value
                    for name, value in held.pop("evidence").items()
                }
                yield Found(**held, evidence=Evidence(**evidence))

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()
        self.path.unlink(missing_ok=True)
