"""A ledger: deletion requests of one model, in turn, and which model is the one that forgot them.

from unlearn.requests import Ledger
ledger = Ledger.start("ledger", {"model.path": "./bot", "data.retain": "training.jsonl",
                                 "reference": "./base"})
ledger.add("R-1", "someone.jsonl", subject="ticket 4711", reason="erasure, GDPR Art. 17")
for outcome in ledger.run():
    print(outcome.ids, outcome.accepted, ledger.head.path)
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.data.own_files import rows_from
from unlearn.data.request_rows import FORGET, RETAIN, lines_of_rows, row_hash
from unlearn.data.sameness import letters_of
from unlearn.data.splits import Row
from unlearn.data.telling import counted, few
from unlearn.errors import ConfigurationError, shortened
from unlearn.requests.book import BOOK, Book, writing_in
from unlearn.requests.entries import Request, day_of, name_problem, requests_in, word_problems
from unlearn.requests.options import choices_of
from unlearn.requests.shelf import ABOUT, REQUESTS, Shelf
from unlearn.storage.files import whole_folder, write_bytes_atomic, write_json_atomic
from unlearn.storage.weights import hash_weights

if TYPE_CHECKING:
    from unlearn.composition.calls import Options
    from unlearn.requests.stream import Outcome


Source = str | Path | Sequence[Row]
"""Rows of one's own in any form that data=files reads, or rows."""


class Ledger(Shelf):
    """The folder of a ledger; what it says is read from there each time that it is asked."""

    @staticmethod
    def start(folder: str | Path, options: Options) -> Ledger:
        """Make the ledger of a model and return it; nothing of the model is computed yet.

        `options`: those of :func:`unlearn.run` for every run of the ledger, among them
        ``model.path``, ``data.retain`` and what says how far to forget: ``reference`` (the model
        that yours was fine-tuned from, or another that never saw the rows), ``data.holdout`` or
        ``method.forget.level``; besides, ``report.language``, ``report.price_per_hour`` and
        ``report.currency``. Raises ConfigurationError.
        """
        place = Path(folder).expanduser()
        if (place / BOOK).exists():
            raise ConfigurationError(f"{str(place)!r} is a ledger already; requests go into it")
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise ConfigurationError(f"{str(place)!r} is there and not empty; give a new folder")
        choices = choices_of(options)
        with writing_in(place):
            place.mkdir(parents=True, exist_ok=True)
            book = Book(place / BOOK)
            sha256 = hash_weights(Path(choices.model))
            model = {"path": choices.model, "sha256": sha256}
            facts = {**choices.facts, "model": model, "salt": secrets.token_hex(16)}
            book.append("started", facts)
        return Ledger(place)

    def add(
        self,
        name: str,
        forget: Source,
        retain: Source | None = None,
        *,
        subject: str = "",
        reason: str = "",
        legal_basis: str = "",
        received: str | date | None = None,
        due: str | date | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Request:
        """Record a request and return it.

        `forget`: its rows, or a folder that `unlearn-requests find` wrote; `retain`: rows close to
        them that must stay. `subject`: a reference that does not tell who it is, such as a ticket's
        number; one that stands in the rows is refused. `received`: null for today. `columns`: those
        of files, by the names of data=files, such as ``{"question": "frage"}``. The parameters are
        nine, as a request has so many facts. Raises ConfigurationError with nothing written.
        """
        folder = Path(forget) if isinstance(forget, (str, Path)) else None
        if folder is not None and folder.is_dir() and (folder / FORGET).is_file():
            found = folder / RETAIN
            forget, retain = folder / FORGET, retain or (found if found.is_file() else None)
        arrived = date.today() if received is None else day_of("received", received)
        until = None if due is None else day_of("due", due)
        problems = [name_problem(name)]
        problems += word_problems(subject=subject, reason=reason, legal_basis=legal_basis)
        if arrived > date.today():
            problems.append(f"received: {arrived} is not here yet; allowed: up to {date.today()}")
        if until is not None and until < date.today():
            problems.append(f"due: {until} is past; allowed: {date.today()} or later")
        if wrong := [problem for problem in problems if problem]:
            raise ConfigurationError(wrong)
        gone = _rows(forget, "forget", columns)
        kept = [] if retain is None else _rows(retain, "retain", columns)
        facts: dict[str, Any] = {
            "id": name,
            "subject": subject,
            "reason": reason,
            "legal_basis": legal_basis,
        }
        facts |= {"received": str(arrived), "due": None if until is None else str(until)}
        with writing_in(self.folder):
            book = self.book
            self._require_new(book, name, subject, gone, kept)
            salt = book.events[0]["salt"]
            contents = {FORGET: lines_of_rows(gone)} | (
                {RETAIN: lines_of_rows(kept)} if kept else {}
            )
            sums = {file: hashlib.sha256(text).hexdigest() for file, text in contents.items()}
            hashes = [row_hash(row, salt) for row in gone]
            kept_hashes = [row_hash(row, salt) for row in kept]
            (self.folder / REQUESTS).mkdir(exist_ok=True)
            with whole_folder(self.place(name)) as unfinished:
                for file, text in contents.items():
                    write_bytes_atomic(unfinished / file, text)
                write_json_atomic(unfinished / ABOUT, facts)
            book.append("added", {**facts, "hashes": hashes, "kept": kept_hashes, "files": sums})
        return self.requests[name]

    def run(
        self,
        names: Iterable[str] | None = None,
        *,
        together: bool = False,
        options: Options = (),
        wait: bool = True,
    ) -> list[Outcome]:
        """Unlearn requests from the model at the head, and return how each run ended.

        `names`: null for all that are open; failed ones are tried again where they are named.
        `together`: in one run. `options`: for these runs alone, beside those of the ledger. A run
        that was cut goes on first. `wait`: for another process that runs here, or refuse.
        """
        from unlearn.requests.stream import run

        return run(self, None if names is None else list(names), together, options, wait)

    def verify(self) -> list[str]:
        """Return what is not as it was written, nothing where all is; see :mod:`.inspection`."""
        from unlearn.requests.inspection import problems_of

        return problems_of(self.folder)

    def forget_texts(self, name: str) -> tuple[list[str], list[str]]:
        """Erase the texts of a request that is done; returns what went, and what is left by hand.

        Hashes and numbers stay. Later runs can no longer ask whether these rows come back.
        """
        from unlearn.requests.texts import erase

        return erase(self, name)

    def report(self, name: str, **choices: Any) -> list[Path]:
        """Write certificate and decision page of a request; see :func:`.certificate.write`."""
        from unlearn.requests.certificate import write

        return write(self, name, **choices)

    def _require_new(
        self, book: Book, name: str, subject: str, forget: list[Row], retain: list[Row]
    ) -> None:
        """Raise ConfigurationError where a request does not go with those that are there."""
        there = requests_in(book)
        problems = []
        if name in there:
            problems.append(f"id: {name!r} is recorded already, on {there[name].received}")
        texts = [letters_of(f"{row.question} {row.answer}") for row in forget]
        who = letters_of(subject)
        if who and not who.isdigit() and any(who in text for text in texts):
            problems.append(
                "subject: it stands in the rows, and the ledger is not to tell who it is; give a "
                "reference such as a ticket's number"
            )
        salt = book.events[0]["salt"]
        new, kept = ([row_hash(row, salt) for row in rows] for rows in (forget, retain))
        if both := set(new) & set(kept):
            problems.append(f"{counted(len(both))} stand in both forget and retain; take them out")
        for event in book.of("added"):
            other = f"request {event['id']!r}"
            done = there[event["id"]].done
            told = f"forgotten already, in {other}" if done else f"already in the open {other}"
            ahead = f"forgotten by {other}" if done else f"to be forgotten by the open {other}"
            pairs = [
                ("forget", new, event["hashes"], told),
                ("retain", kept, event["hashes"], ahead),
            ]
            pairs += [] if done else [("forget", new, event["kept"], f"kept by the open {other}")]
            for said, ours, theirs, what in pairs:
                known = set(theirs)
                if common := [str(n) for n, one in enumerate(ours, 1) if one in known]:
                    problems.append(f"{said}: row {few(common)} is {what}; take it out of one")
        if problems:
            raise ConfigurationError(problems)


def _rows(source: Source, field: str, columns: Mapping[str, str] | None) -> list[Row]:
    rows = rows_from(str(source), field, columns) if isinstance(source, (str, Path)) else source
    if not rows:
        raise ConfigurationError(f"{field}: {shortened(str(source))} holds no rows")
    return list(dict.fromkeys(rows))
