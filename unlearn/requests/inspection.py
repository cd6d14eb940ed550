"""`verify`: whether everything that a ledger holds is as it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from unlearn.errors import ConfigurationError
from unlearn.requests.book import Book, Event
from unlearn.requests.entries import requests_in
from unlearn.requests.shelf import ABOUT, REQUESTS
from unlearn.storage.sealed import SUMS, damage_of, file_sha256
from unlearn.storage.weights import hash_weights


def problems_of(folder: Path) -> list[str]:
    """Return what of a ledger is not as it was written, the first broken line of the book alone.

    Looked at are the book, the rows of each request, every run with its model by the hashes of all
    files, the certificates, and the model that the ledger was started with.
    """
    try:
        book = Book.read(folder)
    except ConfigurationError as error:
        return error.problems
    return [*_of_rows(folder, book), *_of_runs(folder, book), *_of_pages(folder, book)]


def _of_rows(folder: Path, book: Book) -> Iterator[str]:
    there = requests_in(book)
    for event in book.of("added"):
        request = there[event["id"]]
        place = folder / REQUESTS / request.id
        yield from _differences(place, {} if request.erased else request.files)
        about = {key: event[key] for key in event.facts if key not in ("hashes", "kept", "files")}
        try:
            if json.loads((place / ABOUT).read_text(encoding="utf-8")) != about:
                yield f"{place / ABOUT}: it is not as the book has it"
        except (OSError, ValueError):
            yield f"{place / ABOUT}: it is not as it was written"


def _of_runs(folder: Path, book: Book) -> Iterator[str]:
    first = book.events[0]["model"]
    if not Path(first["path"]).is_dir():
        yield f"{first['path']}: the model that the ledger was started with is gone"
    elif hash_weights(Path(first["path"])) != first["sha256"]:
        yield f"{first['path']}: its weights are not those that the ledger was started with"
    sums = {event["run"]: event["files"] for event in book.of("accepted", "refused")}
    rows = {event["run"]: event for event in book.of("begun")}
    for erased in book.of("texts_erased"):
        sums |= erased["runs"]
        rows = {run: event for run, event in rows.items() if run not in erased["runs"]}
    sums |= {event["rows"]: event["files"] for event in rows.values()}
    for run, sha256 in sums.items():
        place = folder / run
        if not place.is_dir():
            yield f"{place}: it is gone"
        elif not (place / SUMS).is_file() or file_sha256(place / SUMS) != sha256:
            yield f"{place / SUMS}: it is not as it was written"
        elif damage := damage_of(place):
            yield f"{place}: {damage}"


def _of_pages(folder: Path, book: Book) -> Iterator[str]:
    newest: dict[str, Event] = {event["id"]: event for event in book.of("reported")}
    there = requests_in(book)
    for name, event in newest.items():
        if event["texts"] and there[name].erased:
            continue  # pages with texts went with them
        yield from _differences(folder / REQUESTS / name, event["files"])


def _differences(place: Path, sums: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with files below a folder, by the hashes that the book has."""
    for name, sha256 in sums.items():
        path = place / name
        if not path.is_file():
            yield f"{path}: it is missing"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            yield f"{path}: it is not as it was written"
