"""The folder of a ledger as it is read: book, requests, their rows, the model at the head."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from unlearn.data.request_rows import FORGET, read_rows
from unlearn.data.splits import Row
from unlearn.errors import ConfigurationError
from unlearn.requests.book import BOOK, Book
from unlearn.requests.entries import Request, Status, requests_in
from unlearn.requests.options import Choices
from unlearn.storage.weights import hash_weights

REQUESTS, ABOUT = "requests", "request.json"


@dataclass(frozen=True)
class Head:
    """The model that forgot every request that is done."""

    path: Path
    sha256: str
    """Of its weights."""


class Shelf:
    """What lies in the folder of a ledger, read each time that it is asked for."""

    def __init__(self, folder: str | Path) -> None:
        """Open a ledger; raises ConfigurationError where there is none, or its book is broken."""
        self.folder = Path(folder).expanduser()
        Book.read(self.folder)

    @property
    def book(self) -> Book:
        """The lines of the ledger, checked as they are read."""
        return Book.read(self.folder)

    @property
    def choices(self) -> Choices:
        """What the ledger was started with."""
        return Choices.of(self.book.events[0].facts)

    @property
    def requests(self) -> dict[str, Request]:
        """Every request by its name, in the order of the book."""
        return requests_in(self.book)

    @property
    def head(self) -> Head:
        """The newest accepted model, at first the one that the ledger was started with."""
        return head_of(self.folder, self.book)

    def status(self, today: date | None = None) -> dict[str, Status]:
        """Return where every request stands; `today`: null for this day."""
        return {name: request.status(today) for name, request in self.requests.items()}

    def place(self, name: str) -> Path:
        """Return the folder of a request."""
        return self.folder / REQUESTS / name

    def rows(self, name: str) -> list[Row]:
        """Return the rows of a request; raises ConfigurationError where they are not as they were.

        Those of a request whose texts were erased are none.
        """
        request = self.requests[name]
        if request.erased:
            return []
        for file, sha256 in request.files.items():
            path = self.place(name) / file
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                raise ConfigurationError(
                    f"{path}: it is {'not as it was recorded' if path.is_file() else 'missing'}; "
                    "put the file back"
                )
        return read_rows(self.place(name) / FORGET)


def head_of(folder: Path, book: Book) -> Head:
    """Return the newest accepted model of a ledger."""
    *_, last = (book.events[0], *book.of("accepted"))
    model = last["model"]
    return Head((folder / model["path"]).absolute(), model["sha256"])


def require_head(head: Head) -> None:
    """Raise ConfigurationError where the model at the head is not there as it was."""
    if not head.path.is_dir():
        raise ConfigurationError(f"the model at the head is gone: {head.path}; put it back")
    if hash_weights(head.path) != head.sha256:
        raise ConfigurationError(
            f"the model at the head, {head.path}, is another one than the ledger's: its weights "
            "have another SHA-256; put it back"
        )


def require_ledger(folder: str | Path) -> Path:
    """Return the folder of a ledger, whatever its state; raises ConfigurationError without one."""
    place = Path(folder).expanduser()
    if not (place / BOOK).is_file():
        raise ConfigurationError(f"{str(place)!r} is no ledger: it has no {BOOK}")
    return place
