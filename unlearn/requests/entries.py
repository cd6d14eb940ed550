"""What a ledger knows of each request, from the lines of its book."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Any

from unlearn.errors import ConfigurationError, shortened
from unlearn.requests.book import Book, Event

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a request may be called: it becomes the name of a folder."""
WORDS = 2_000
"""Most letters of a reason, a legal basis and a reference to the subject."""


class Status(Enum):
    """Where a request stands."""

    open = "open"
    due = "due"
    """Open, with a week or less to go."""
    overdue = "overdue"
    done = "done"
    failed = "failed"
    """Its last run ended without a model that meets the conditions."""


@dataclass
class Request:
    """One request, as the book has it."""

    id: str
    subject: str
    """A reference that does not tell who it is, such as a ticket's number."""
    reason: str
    legal_basis: str
    received: date
    due: date | None
    hashes: list[str]
    """Of its rows, in order."""
    files: Mapping[str, str]
    """SHA-256 of the files with its rows, by their names."""
    runs: list[Event] = field(default_factory=list)
    """How its runs ended: the events `accepted`, `refused` and `failed`."""
    erased: str | None = None
    """When its texts were erased."""

    @property
    def done(self) -> bool:
        """Whether a run that forgets its rows was accepted."""
        return any(event.kind == "accepted" for event in self.runs)

    @property
    def accepted(self) -> Event:
        """The event by which it was done."""
        return next(event for event in self.runs if event.kind == "accepted")

    def status(self, today: date | None = None) -> Status:
        """Return where it stands; `today`: null for this day."""
        today = today or date.today()
        if self.done:
            return Status.done
        if self.due is not None and self.due < today:
            return Status.overdue
        if self.runs:
            return Status.failed
        if self.due is not None and (self.due - today).days <= 7:
            return Status.due
        return Status.open


def requests_in(book: Book) -> dict[str, Request]:
    """Return all requests by their names, in the order in which they were recorded."""
    found: dict[str, Request] = {}
    for event in book.events:
        if event.kind == "added":
            due = event["due"]
            found[event["id"]] = Request(
                event["id"],
                event["subject"],
                event["reason"],
                event["legal_basis"],
                date.fromisoformat(event["received"]),
                None if due is None else date.fromisoformat(due),
                list(event["hashes"]),
                event["files"],
            )
        elif event.kind in ("accepted", "refused", "failed"):
            for name in event["ids"]:
                found[name].runs.append(event)
        elif event.kind == "texts_erased":
            found[event["id"]].erased = event.time
    return found


def day_of(field_name: str, given: Any) -> date:
    """Return a day written as 2026-11-26; raises ConfigurationError."""
    if isinstance(given, date):
        return given
    try:
        return date.fromisoformat(str(given))
    except ValueError:
        raise ConfigurationError(
            f"{field_name}: {shortened(repr(given))} is no day; write it like 2026-11-26"
        ) from None


def name_problem(given: str) -> str | None:
    """Return what is wrong with a request's name."""
    if NAME.fullmatch(given):
        return None
    return (
        f"id: {shortened(repr(given))}; allowed: up to 64 of the letters A to z, digits, points, "
        "hyphens and underscores, a letter or digit first"
    )


def word_problems(**texts: str) -> list[str]:
    """Return what is wrong with the words that a person wrote about a request."""
    return [
        f"{name}: {len(text):,} letters; allowed: up to {WORDS:,} on one line"
        for name, text in texts.items()
        if len(text) > WORDS or "\n" in text
    ]
