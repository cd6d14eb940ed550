"""When a run of a ledger is accepted: its own conditions, and that nothing comes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unlearn.evaluation.acceptance import Condition
from unlearn.requests.book import Book, Event
from unlearn.requests.entries import Request

Told = dict[str, Any]
"""A condition as a configuration has it: {metric, at_least | at_most | within, of}."""
WITH_REFERENCE: tuple[Told, ...] = (
    {"metric": "forget/rougeL_recall", "within": 0.15, "of": "reference"},
    {"metric": "forget/probability", "within": 0.1, "of": "reference"},
)
"""Forgotten as a model that never saw the rows, and no further."""
WITHOUT_REFERENCE: tuple[Told, ...] = (
    {"metric": "forget/rougeL_recall", "at_most": 0.6, "of": "before"},
    {"metric": "forget/probability", "at_most": 0.5, "of": "before"},
)
KEPT = 0.95
"""Share of the first model's quality that every model of a ledger keeps, on rows to keep and on
those of the daily business."""
COMES_BACK = 0.1
"""By how much more of the rows forgotten earlier may come out than when each was accepted."""
HELD = ("rougeL_recall", "probability")
"""What shows that forgotten rows come back."""


def default_conditions(reference: bool, general: bool) -> list[Told]:
    """Return the conditions of a ledger that was given none."""
    kept = [
        {"metric": f"{split}/{name}", "at_least": KEPT, "of": "first"}
        for split in ("retain", *(["general"] if general else []))
        for name in HELD
    ]
    return [*(WITH_REFERENCE if reference else WITHOUT_REFERENCE), *kept]


def read_condition(told: Told) -> Condition:
    """Read a condition of a ledger, whose `of` may be `first`; raises ConfigurationError."""
    known = {**told, "of": "before"} if told.get("of") == "first" else told
    return Condition.read(known)


def conditions_of(book: Book, told: Sequence[Told], earlier: Iterable[Request]) -> list[Told]:
    """Return the conditions of the next run.

    `of: first` becomes a number: what the ledger's first model had, so that no run after the other
    may take a little more. In the first run it is the model before.
    """
    first = next(iter(book.of("accepted", "refused")), None)
    resolved = [_beside_first(one, first) for one in told]
    return [*resolved, *not_coming_back(list(earlier))]


def _beside_first(told: Told, first: Event | None) -> Told:
    if told.get("of") != "first":
        return told
    measured = None if first is None else first["metrics"]["before"].get(told["metric"])
    if measured is None:
        return {**told, "of": "before"}
    condition = read_condition(told)
    low, high = condition.interval(measured)
    left: Told = {"metric": condition.metric}
    if condition.kind == "within":
        return left | {"within": [low, high]}
    return left | {condition.kind: low if condition.kind == "at_least" else high}


def not_coming_back(earlier: Sequence[Request]) -> list[Told]:
    """Return the conditions by which rows of earlier requests stay forgotten.

    The bound is what came out of them when each request was accepted, a mean over their rows, and
    :data:`COMES_BACK`. A bound beside the model before would move with every run.
    """
    if not earlier:
        return []
    rows = sum(len(request.hashes) for request in earlier)
    found: list[Told] = []
    for name in HELD:
        values: list[float | None] = [_after(request).get(f"forget/{name}") for request in earlier]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            weighted = zip(earlier, known, strict=True)
            mean = sum(len(request.hashes) * value for request, value in weighted) / rows
            found.append({"metric": f"forgotten/{name}", "at_most": round(mean + COMES_BACK, 4)})
    return found


def _after(request: Request) -> Mapping[str, float | None]:
    return request.accepted["metrics"]["after"]
