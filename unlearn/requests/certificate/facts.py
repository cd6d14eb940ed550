"""What is told of a request, as plain values: ``certificate.json`` holds it, both pages read it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from unlearn.errors import ConfigurationError
from unlearn.record.layout import read_answers, read_run, read_summary
from unlearn.requests.book import Book, Event
from unlearn.requests.certificate.lights import light_of
from unlearn.requests.entries import Request
from unlearn.requests.options import Reporting
from unlearn.requests.shelf import Shelf
from unlearn.storage.files import plain

SCHEMA = 1
SHOWN = 8
"""Rows whose answers a certificate with texts shows."""


def facts_of(ledger: Shelf, name: str, reporting: Reporting, texts: bool) -> dict[str, Any]:
    """Return what is told of a request; raises ConfigurationError where nothing was run for it."""
    book, there = ledger.book, ledger.requests
    if name not in there:
        raise ConfigurationError(f"id: no request {name!r} is recorded here")
    request = there[name]
    if not request.runs:
        raise ConfigurationError(f"id: {name!r} was not run yet, so there is nothing to report")
    if texts and request.erased:
        raise ConfigurationError(f"texts: those of {name!r} were erased on {request.erased}")
    end = request.runs[-1]
    begun = next(event for event in book.of("begun") if event["run"] == end["run"])
    folder = ledger.folder / end["run"]
    verdict = end["verdict"] or {"accepted": None, "conditions": []}
    found = {
        "schema": SCHEMA,
        "written": datetime.now().astimezone().isoformat(timespec="seconds"),
        "request": _asked(request),
        "outcome": end.kind,
        "ended": end.time,
        "on_time": request.due is None or datetime.fromisoformat(end.time).date() <= request.due,
        "together_with": [one for one in end["ids"] if one != name],
        "models": {
            "first": book.events[0]["model"]["sha256"],
            "before": begun["head"],
            "after": end.facts.get("model", {}).get("sha256"),
            "in_use": ledger.head.sha256,
        },
        "metrics": end.facts.get("metrics", {}),
        "conditions": [{**one, "light": light_of(one)} for one in verdict["conditions"]],
        "accepted": verdict["accepted"],
        "earlier": _earlier(begun, there),
        "again": len(begun["again"]),
        "runs": [_attempt(event, book) for event in request.runs],
        "attacked": _attacked(end),
        "cost": _cost(request, reporting),
        "limits": _limits(end, begun, there),
        "versions": end.facts.get("versions", {}),
        "command": _command(folder),
        "book": {"lines": len(book.events), "sha256": book.sha256},
        "texts": _texts(folder) if texts else None,
    }
    return dict(plain(found))


def _asked(request: Request) -> dict[str, Any]:
    return {
        "id": request.id,
        "subject": request.subject,
        "reason": request.reason,
        "legal_basis": request.legal_basis,
        "received": str(request.received),
        "due": None if request.due is None else str(request.due),
        "rows": len(request.hashes),
        "row_hashes": request.hashes,
        "texts_erased": request.erased,
    }


def _earlier(begun: Event, there: Mapping[str, Request]) -> dict[str, Any]:
    """Return which requests were done before the run, and which of them it could not ask about."""
    done = [one for one in there.values() if one.done and one.accepted.number < begun.number]
    checked = [one for one in done if one.id in begun["forgotten"]]
    return {
        "checked": [one.id for one in checked],
        "rows": sum(len(one.hashes) for one in checked),
        "unchecked": [one.id for one in done if one not in checked],
    }


def _attempt(end: Event, book: Book) -> dict[str, Any]:
    begun = next(event for event in book.of("begun") if event["run"] == end["run"])
    kept = {"run": end["run"], "began": begun.time, "ended": end.time, "outcome": end.kind}
    return {**kept, "came_back": len(end.facts.get("came_back", ()))}


def _attacked(end: Event) -> dict[str, float | None]:
    """Return what attacks and membership tests showed of the model after."""
    after = end.facts.get("metrics", {}).get("after", {})
    return {
        name: v for name, v in after.items() if name.startswith(("attack/", "mia_", "privleak"))
    }


def _cost(request: Request, reporting: Reporting) -> dict[str, Any]:
    costs = [event.facts["cost"] for event in request.runs if "cost" in event.facts]
    parts = ("prepare_s", "train_s", "evaluate_s")
    seconds = sum(cost.get(part) or 0.0 for cost in costs for part in parts)
    price = reporting.price_per_hour
    return {
        "minutes": round(seconds / 60, 2),
        "runs": len(request.runs),
        "money": None if price is None else round(seconds / 3600 * price, 4),
        "price_per_hour": price,
        "currency": reporting.currency,
    }


def _limits(end: Event, begun: Event, there: Mapping[str, Request]) -> list[str]:
    """Return what this result cannot promise, by the keys of the languages' `limits`."""
    metrics = end.facts.get("metrics", {})
    found = ["approximate", "copies", "older_models"]
    found += [] if "reference" in metrics else ["no_reference"]
    found += [] if any(n.startswith("attack/") for n in metrics.get("after", {})) else ["no_attack"]
    found += ["few_rows"] if sum(len(there[one].hashes) for one in begun["ids"]) < 10 else []
    return found + (["unchecked"] if _earlier(begun, there)["unchecked"] else [])


def _command(folder: Path) -> str | None:
    """Return the command that repeats a run, where its record is still there."""
    try:
        known = read_summary(folder)
    except (OSError, ValueError):
        return None
    if known is None:
        return None
    return shlex.join(["unlearn", *read_run(folder, known).overrides])


def _texts(folder: Path) -> list[dict[str, str]]:
    """Return questions of forget rows, with what the models before and after answered."""
    stages = {stage: read_answers(folder, stage) for stage in ("before", "after")}
    lines = {
        (stage, line["index"]): line
        for stage, found in stages.items()
        for line in found
        if line.get("split") == "forget"
    }
    numbers = sorted({index for _, index in lines})[:SHOWN]
    return [
        {
            "question": str(lines["after", index].get("question")),
            "truth": str(lines["after", index].get("truth")),
            **{stage: str(lines[stage, index].get("answer")) for stage in stages},
        }
        for index in numbers
        if all((stage, index) in lines for stage in stages)
    ]
