"""`forget-texts`: the texts of a request go from the ledger, hashes and numbers stay."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from unlearn.errors import ConfigurationError
from unlearn.experiment.erasing import clean
from unlearn.record.claim import claimed
from unlearn.requests.book import Book, writing_in
from unlearn.requests.shelf import Shelf
from unlearn.storage.sealed import SUMS, file_sha256, seal


def erase(ledger: Shelf, name: str) -> tuple[list[str], list[str]]:
    """Erase the rows of a request, and every text of the runs that read them.

    Returns what went and what only a person can erase. Raises ConfigurationError, with nothing
    erased, for a request that is not done, as its rows are still needed.
    """
    with claimed(ledger.folder, wait=False, option="ledger"):
        there = ledger.requests
        if name not in there:
            raise ConfigurationError(f"id: no request {name!r} is recorded here")
        if not there[name].done:
            raise ConfigurationError(
                f"id: {name!r} is not forgotten yet, and its rows are needed for that; run it first"
            )
        erased: list[str] = []
        book = ledger.book
        if cut := _cut_run(name, book):
            raise ConfigurationError(
                f"id: the rows of {name!r} are read by {cut}, which was cut; bring it to its end "
                "first (unlearn-requests run)"
            )
        runs = [run for run in _runs_with(name, book) if (ledger.folder / run).is_dir()]
        ours = ledger.place(name)
        pages = [ours / file for file in ("certificate.html", "certificate.json", "decision.html")]
        rows = [ours / file for file in there[name].files]
        for path in [*rows, *(page for page in pages if _quotes(book, name))]:
            if path.is_file():
                path.unlink()
                erased.append(f"{path}")
        for event in book.of("begun"):
            folder = ledger.folder / event["rows"]
            if event["run"] in runs and folder.is_dir():
                shutil.rmtree(folder)
                erased.append(f"{folder}: the rows that a run read")
        told = clean([str(ledger.folder / run) for run in runs])
        for run in runs:
            seal(ledger.folder / run, (ledger.folder / run).name)
        sums = {run: file_sha256(ledger.folder / run / SUMS) for run in runs}
        if erased or told.erased or not there[name].erased:
            with writing_in(ledger.folder):
                ledger.book.append("texts_erased", {"id": name, "runs": sums})
    return [*erased, *told.erased], [*_older_models(ledger, name), *told.left]


def _runs_with(name: str, book: Book) -> Iterator[str]:
    """Yield the runs that forgot the rows of a request, or asked whether they are still gone."""
    for event in book.of("begun"):
        if name in (*event["ids"], *event["forgotten"]):
            yield event["run"]


def _cut_run(name: str, book: Book) -> str | None:
    """Return the run that needs the rows of a request and has no end yet."""
    ended = {event["run"] for event in book.of("accepted", "refused", "failed")}
    return next((run for run in _runs_with(name, book) if run not in ended), None)


def _quotes(book: Book, name: str) -> bool:
    """Return whether the pages of a request were last written with texts."""
    *_, quoted = (False, *(e["texts"] for e in book.of("reported") if e["id"] == name))
    return bool(quoted)


def _older_models(ledger: Shelf, name: str) -> Iterator[str]:
    """Name the models that still know the rows: all from before the request was done."""
    book = ledger.book
    done = ledger.requests[name].accepted
    known: list[Path] = [Path(book.events[0]["model"]["path"])]
    known += [
        ledger.folder / event["model"]["path"]
        for event in book.of("accepted", "refused")
        if event.number < done.number
    ]
    for path in known:
        if path.is_dir():
            yield f"{path}: a model from before {name} was forgotten, which knows its rows"
