"""The book of a ledger: JSON lines of which each knows the one before by its SHA-256.

A line ends with its own hash over all that stands ahead of it, the hash of the line before
included: whoever changes a byte of one has to write all later ones anew, and the last hash, which
`verify` prints and which may be kept elsewhere, is then another.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from unlearn.errors import ConfigurationError
from unlearn.storage.cache import lock_of
from unlearn.storage.files import plain, write_bytes_atomic

BOOK = "ledger.jsonl"
FIRST = "0" * 64
"""What stands for the hash of the line before the first."""
OWN = {"number", "time", "event", "before", "sha256"}
END = re.compile(r', "sha256": "([0-9a-f]{64})"}\Z')


@dataclass(frozen=True)
class Event:
    """One line of the book."""

    number: int
    time: str
    """Day and time with the offset from UTC, as ISO 8601 has it."""
    kind: str
    facts: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.facts[name]


class Book:
    """The lines of a ledger, all of them checked when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []
        self.sha256 = FIRST
        """Hash of the last line."""

    @staticmethod
    def read(folder: Path) -> Book:
        """Read the book in a folder; raises ConfigurationError at the first broken line."""
        book = Book(folder / BOOK)
        try:
            text = book.path.read_bytes()
        except FileNotFoundError:
            raise ConfigurationError(
                f"{str(folder)!r} is no ledger: it has no {BOOK}; make one: unlearn-requests start"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"{book.path}: {error.strerror}") from error
        for number, line in enumerate(text.split(b"\n"), 1):
            if line or number <= text.count(b"\n") or number == 1:
                book._take(number, line, whole=number <= text.count(b"\n"))
        return book

    def of(self, *kinds: str) -> Iterator[Event]:
        """Yield the events of these kinds, in order."""
        return (event for event in self.events if event.kind in kinds)

    def append(self, kind: str, facts: Mapping[str, Any]) -> Event:
        """Write one more line, on disk when this returns; to be called within :meth:`writing`.

        The file is written anew under another name, which it then takes: nobody ever reads half a
        line, and a line that lacks its end was damaged.
        """
        assert not facts.keys() & OWN, "a line has these of its own"
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        number = len(self.events) + 1
        held = {"number": number, "time": time, "event": kind, **facts, "before": self.sha256}
        body = json.dumps(plain(held), ensure_ascii=False, allow_nan=False)[:-1]
        line = f'{body}, "sha256": "{_hash(body)}"}}'
        earlier = self.path.read_bytes() if self.path.exists() else b""
        write_bytes_atomic(self.path, earlier + line.encode() + b"\n")
        self._take(number, line.encode(), whole=True)
        return self.events[-1]

    def _take(self, number: int, line: bytes, whole: bool) -> None:
        """Take one more line; raises ConfigurationError where it is not as it was written."""
        wrong = "it is not as it was written"
        try:
            text = line.decode()
            end = END.search(text)
            record = json.loads(text)
            if not whole or end is None or _hash(text[: end.start()]) != end[1]:
                raise ValueError(wrong)
            if record.pop("before") != self.sha256 or record.pop("number") != number:
                raise ValueError("it does not follow the line before it")
            del record["sha256"]
            event = Event(number, record.pop("time"), record.pop("event"), record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            follows = str(error).startswith("it does not follow")
            raise ConfigurationError(
                f"{self.path}:{number}: {error if follows else wrong}; nothing is done with this "
                "ledger until the file is back"
            ) from error
        self.events.append(event)
        self.sha256 = end[1]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Hold the book for this process alone while a line is decided on and written."""
    from filelock import FileLock  # not for `--help`

    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:24]
    with FileLock(lock_of("ledgers", name)):
        yield
