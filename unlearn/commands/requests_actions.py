"""What each action of `unlearn-requests` does: a few lines over `unlearn.requests.Ledger`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from unlearn.console.visible import Formatter, say
from unlearn.data.telling import counted
from unlearn.errors import ConfigurationError, Rejected

if TYPE_CHECKING:
    from unlearn.requests import Ledger


def start(options: argparse.Namespace) -> int:
    """Make a ledger."""
    from unlearn.requests import Ledger

    _log()
    ledger = Ledger.start(options.ledger, options.words)
    say(f"{ledger.folder}: a ledger of {ledger.head.path} ({ledger.head.sha256[:12]}…)")
    for one in ledger.choices.conditions:
        kind = next(key for key in ("at_least", "at_most", "within") if key in one)
        beside = f" × {one['of']}" if one.get("of") and kind != "within" else ""
        of = f" of {one['of']}" if one.get("of") and kind == "within" else beside
        say(f"condition: {one['metric']} {kind.replace('_', ' ')} {one[kind]}{of}")
    return 0


def add(options: argparse.Namespace) -> int:
    """Record a request."""
    ledger = _opened(options)
    names, words = _parted(options.words)
    if len(names) != 2:
        raise ConfigurationError(
            "add: give LEDGER ID ROWS, where ROWS is a file or a folder that find wrote"
        )
    columns = {}
    for word in words:
        name, _, value = word.partition("=")
        if not name.startswith("data."):
            raise ConfigurationError(f"{word}: allowed here: columns, such as data.question=frage")
        columns[name.removeprefix("data.")] = value
    request = ledger.add(
        names[0],
        names[1],
        options.retain,
        subject=options.subject,
        reason=options.reason,
        legal_basis=options.legal_basis,
        received=options.received,
        due=options.due,
        columns=columns,
    )
    due = f", due {request.due}" if request.due else ""
    say(f"{request.id}: {counted(len(request.hashes))} recorded{due}")
    return 0


def status(options: argparse.Namespace) -> int:
    """List the requests."""
    ledger = _opened(options)
    requests = ledger.requests
    table = [("id", "status", "received", "due", "rows", "runs", "reference")]
    for name, where in ledger.status().items():
        one = requests[name]
        due = str(one.due or "–")
        counts = str(len(one.hashes)), str(len(one.runs))
        table.append((name, where.value, str(one.received), due, *counts, one.subject))
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip())
    say(f"model at the head: {ledger.head.path} ({ledger.head.sha256[:12]}…)")
    return 0


def run(options: argparse.Namespace) -> int:
    """Unlearn open requests, or those that are named."""
    ledger = _opened(options)
    names, words = _parted(options.words)
    _log()
    outcomes = ledger.run(
        names or None, together=options.together, options=words, wait=not options.no_wait
    )
    if not outcomes:
        say("nothing is open; a failed request is tried again where it is named")
    for outcome in outcomes:
        word = "accepted" if outcome.accepted else "not accepted"
        say(f"{', '.join(outcome.ids)}: {word} ({outcome.run})")
        for one in outcome.verdict["conditions"]:
            if not one["met"]:
                say(f"  {one['metric']}: {one['value']:.3f}, asked for: {one['rule']}")
        for name in outcome.ids:
            say(f"  {ledger.report(name)[-1]}")
    say(f"model at the head: {ledger.head.path} ({ledger.head.sha256[:12]}…)")
    return 0 if all(outcome.accepted for outcome in outcomes) else Rejected.exit_status


def verify(options: argparse.Namespace) -> int:
    """Look whether everything is as it was written."""
    from unlearn.requests.inspection import problems_of
    from unlearn.requests.shelf import require_ledger

    folder = require_ledger(options.ledger)
    problems = problems_of(folder)
    for problem in problems:
        say(problem)
    if problems:
        return 1
    ledger = _opened(options)
    book = ledger.book
    say(f"all is as it was written: {counted(len(book.events), 'line')}, the last {book.sha256}")
    return 0


def forget_texts(options: argparse.Namespace) -> int:
    """Erase the texts of requests that are done."""
    ledger = _opened(options)
    if not options.words:
        raise ConfigurationError("forget-texts: name the requests whose texts are to go")
    for name in options.words:
        erased, left = ledger.forget_texts(name)
        for line in dict.fromkeys(erased):
            say(f"erased: {line}")
        for line in dict.fromkeys(left):
            say(f"by hand: {line}")
        say(f"{name}: later runs can no longer ask whether these rows come back")
    return 0


def report(options: argparse.Namespace) -> int:
    """Write the pages of the requests that are named, or of all that were run."""
    from dataclasses import asdict

    from unlearn.composition.given import given
    from unlearn.requests.options import Reporting, reporting_of

    ledger = _opened(options)
    names, words = _parted(options.words)
    chosen = asdict(ledger.choices.reporting) | reporting_of(given(words))
    there = [name for name, one in ledger.requests.items() if one.runs]
    for name in names or there:
        for path in ledger.report(name, reporting=Reporting(**chosen), texts=options.texts):
            say(f"written: {path}")
    return 0


ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "start": start,
    "add": add,
    "status": status,
    "run": run,
    "verify": verify,
    "forget-texts": forget_texts,
    "report": report,
}


def _opened(options: argparse.Namespace) -> Ledger:
    from unlearn.requests import Ledger

    return Ledger(options.ledger)


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the words that are names, and those that are options."""
    return [w for w in words if "=" not in w], [w for w in words if "=" in w]


def _log() -> None:
    """Say on standard error what a run says, as `unlearn` does."""
    from unlearn.composition.register import register
    from unlearn.console.libraries import silence_libraries

    register()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("absl").setLevel(logging.WARNING)  # rouge-score greets through it
    silence_libraries()
