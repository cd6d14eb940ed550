"""The runs of a ledger: each from the model at its head, and cut anywhere they go on."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn.composition.calls import Options, words_of
from unlearn.composition.given import given
from unlearn.data.request_rows import (
    AGAIN,
    FORGET,
    FORGOTTEN,
    REQUESTED,
    RETAIN,
    lines_of_rows,
    read_rows,
    row_hash,
)
from unlearn.data.splits import Row
from unlearn.data.telling import counted, few
from unlearn.errors import ConfigurationError, UnlearnError
from unlearn.experiment.calling import Result, check
from unlearn.experiment.calling import run as run_experiment
from unlearn.record.claim import claimed
from unlearn.requests.book import Book, Event, writing_in
from unlearn.requests.conditions import conditions_of
from unlearn.requests.entries import Request, Status, requests_in
from unlearn.requests.options import USUAL, check_conditions, run_options
from unlearn.requests.returned import rows_that_came_back
from unlearn.requests.shelf import REQUESTS, Shelf, head_of, require_head
from unlearn.storage.files import write_json_atomic
from unlearn.storage.sealed import SUMS, file_sha256, seal, sealed_folder
from unlearn.storage.weights import hash_weights

log = logging.getLogger(__name__)

ENDS = ("accepted", "refused", "failed")


@dataclass(frozen=True)
class Outcome:
    """How one run of a ledger ended."""

    ids: list[str]
    accepted: bool
    run: Path
    """Its folder."""
    verdict: Mapping[str, Any]

    @property
    def result(self) -> Result:
        """The run with its numbers and its model."""
        return Result.of(self.run)


def run(
    ledger: Shelf, names: list[str] | None, together: bool, options: Options, wait: bool
) -> list[Outcome]:
    """Unlearn requests in turn, or together; see :meth:`Ledger.run`."""
    words = words_of(options)
    with claimed(ledger.folder, wait=wait, option="ledger"):
        cut = _cut(ledger.book)
        ids = _chosen(ledger.requests, names, cut)
        require_head(ledger.head)
        outcomes = []
        if cut is not None:
            log.info("the run of %s was cut, and goes on", ", ".join(cut["ids"]))
            outcomes.append(_finished(ledger, cut))
        batches = [ids] if together and ids else [[name] for name in ids]
        outcomes += [_finished(ledger, _begun(ledger, batch, words)) for batch in batches]
    return outcomes


def _cut(book: Book) -> Event | None:
    """Return the beginning of a run that has no end yet, or whose second attempt has not begun."""
    *_, last = (None, *(event for event in book.events if event.kind in ("begun", *ENDS)))
    if last is None or last.kind == "begun":
        return last
    begun = next(event for event in book.of("begun") if event["run"] == last["run"])
    return begun if _to_repeat(begun, last) else None


def _chosen(there: Mapping[str, Request], names: list[str] | None, cut: Event | None) -> list[str]:
    """Return the requests to run; raises ConfigurationError for those that cannot be."""
    ours = set(cut["ids"]) if cut else set()
    if names is None:
        today = (Status.open, Status.due, Status.overdue)
        return [
            name
            for name, one in there.items()
            if name not in ours and one.status() in today and not one.runs
        ]
    problems = []
    for name in names:
        if name not in there:
            known = few(list(there)) or "none yet"
            problems.append(f"id: no request {name!r} is recorded here; there are: {known}")
        elif there[name].done:
            problems.append(f"id: {name!r} is forgotten already, since {there[name].accepted.time}")
    if problems:
        raise ConfigurationError(problems)
    return [name for name in dict.fromkeys(names) if name not in ours]


def _begun(ledger: Shelf, ids: list[str], words: Sequence[str], again: Sequence[str] = ()) -> Event:
    """Write the rows of a run and that it begins; raises ConfigurationError with nothing written.

    `again`: hashes of rows that came back, to be forgotten once more.
    """
    told = given(words)
    with writing_in(ledger.folder):
        book = ledger.book
        there, choices = requests_in(book), ledger.choices
        earlier = [one for one in there.values() if one.done and not one.erased]
        wanted = told.get("accept.conditions", choices.conditions)
        check_conditions(wanted)
        number = 1 + sum(event["ids"][0] == ids[0] for event in book.of("begun"))
        facts: dict[str, Any] = {
            "ids": ids,
            "run": f"{REQUESTS}/{ids[0]}/run-{number}",
            "rows": f"{REQUESTS}/{ids[0]}/rows-{number}",
            "head": head_of(ledger.folder, book).sha256,
            "options": [*choices.options, *run_options(words, told)],
            "conditions": conditions_of(book, wanted, earlier),
            "forgotten": [one.id for one in earlier],
            "again": list(again),
        }
        _write_rows(ledger, ledger.folder / facts["rows"], facts, book)
        try:
            check(_words(ledger.folder, facts, book))
        except BaseException:
            shutil.rmtree(ledger.folder / facts["rows"])
            raise
        sums = file_sha256(ledger.folder / facts["rows"] / SUMS)
        return book.append("begun", {**facts, "files": sums})


def _write_rows(ledger: Shelf, folder: Path, facts: Mapping[str, Any], book: Book) -> None:
    """Write what the run reads: rows to forget, forgotten before, to keep, and asked for at all."""
    salt = book.events[0]["salt"]
    forget, forgotten = (
        [row for name in names for row in ledger.rows(name)]
        for names in (facts["ids"], facts["forgotten"])
    )
    retain = [r for name in facts["ids"] for r in read_rows(ledger.place(name) / RETAIN)]
    known: dict[str, Row] = {row_hash(row, salt): row for row in forgotten}
    hashes = [one for request in requests_in(book).values() for one in request.hashes]
    with sealed_folder(folder) as unfinished:
        again = [known[one] for one in facts["again"]]
        files = {FORGET: forget, FORGOTTEN: forgotten, AGAIN: again, RETAIN: retain}
        for name, rows in files.items():
            (unfinished / name).write_bytes(lines_of_rows(rows))
        write_json_atomic(unfinished / REQUESTED, {"salt": salt, "hashes": hashes})


def _words(folder: Path, facts: Mapping[str, Any], book: Book) -> list[str]:
    """Return the overrides of a run that has begun, or is to begin."""
    paths = {
        "model.path": str(head_of(folder, book).path),
        "data.path": str((folder / facts["rows"]).absolute()),
        "accept.conditions": facts["conditions"],
    }
    return [*USUAL, *facts["options"], *words_of(paths)]


def _finished(ledger: Shelf, begun: Event) -> Outcome:
    """Bring a run to its end and write it down; try once more where forgotten rows come back."""
    end = next((event for event in ledger.book.of(*ENDS) if event["run"] == begun["run"]), None)
    end = end or _run(ledger, begun)
    if _to_repeat(begun, end):
        again = end["came_back"]
        log.warning(
            "%s forgotten earlier came back; a second run has them among its forget rows",
            counted(len(again)),
        )
        words = begun["options"][len(ledger.choices.options) :]
        return _finished(ledger, _begun(ledger, begun["ids"], words, again))
    return Outcome(
        list(begun["ids"]), end.kind == "accepted", ledger.folder / begun["run"], end["verdict"]
    )


def _to_repeat(begun: Event, end: Event) -> bool:
    return end.kind == "refused" and bool(end["came_back"]) and not begun["again"]


def _run(ledger: Shelf, begun: Event) -> Event:
    folder = ledger.folder / begun["run"]
    log.info("%s: unlearning from %s", ", ".join(begun["ids"]), ledger.head.path)
    try:
        result = run_experiment(_words(ledger.folder, begun.facts, ledger.book), folder=folder)
    except Exception as error:
        if isinstance(error, (UnlearnError, OSError, RuntimeError)):
            _end(ledger, begun, "failed", {"error": type(error).__name__, "verdict": {}})
        raise  # what it says may quote a row, and stays out of the book
    facts = _facts(ledger, begun, result)
    return _end(ledger, begun, "accepted" if result.accepted else "refused", facts)


def _facts(ledger: Shelf, begun: Event, result: Result) -> dict[str, Any]:
    """Return what the book keeps of a run: numbers and hashes, and no text of a row."""
    summary, folder = result.summary, result.folder
    seal(folder, folder.name)
    salt = ledger.book.events[0]["salt"]
    broken = {c["metric"] for c in summary["verdict"]["conditions"] if not c["met"]}
    came_back = []
    if any(metric.startswith("forgotten/") for metric in broken):
        rows = read_rows(ledger.folder / begun["rows"] / FORGOTTEN)
        most = len(read_rows(ledger.folder / begun["rows"] / FORGET))
        came_back = [row_hash(rows[n], salt) for n in rows_that_came_back(folder, most)]
    model = f"{begun['run']}/model"
    return {
        "head": begun["head"],
        "model": {"path": model, "sha256": hash_weights(ledger.folder / model)},
        "verdict": summary["verdict"],
        "came_back": came_back,
        "metrics": {stage: flat for stage, flat in summary["metrics"].items() if flat},
        "cost": summary["cost"],
        "versions": summary["provenance"]["versions"],
        "files": file_sha256(folder / SUMS),
    }


def _end(ledger: Shelf, begun: Event, kind: str, facts: Mapping[str, Any]) -> Event:
    with writing_in(ledger.folder):
        return ledger.book.append(kind, {"ids": begun["ids"], "run": begun["run"], **facts})
