"""How numbers and metric names are put in front of a person."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from unlearn.metrics.catalogue import GROUPS, Catalogue, order

GROUP_TITLES = {
    "mia": "membership attacks: AUC, 0.5 = forget rows look like holdout rows",
    "lm_eval": "lm-evaluation-harness",
    "attack": "attacks: recovered shares (0 = nothing came back), and what they are made of",
}
"""What a group is called where its name would not do."""

MISSING = "–"


def number(value: object, metric: str = "") -> str:
    """Round to three digits; a p-value (``forget_quality``) is always in scientific form."""
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return re.sub(r"[^\w .,%+-]+", "?", str(value))[:40]  # a record may hold anything
    if metric == "forget_quality":
        return f"{value:.2e}"
    size = abs(value)
    if value == 0 or isinstance(value, int):
        return str(int(value))
    if size < 1e-3 or size >= 1e6:
        return f"{value:.2e}"
    decimals = 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    return f"{value:.{decimals}f}"


def bound_words(condition: Mapping[str, Any]) -> str:
    """Write the rule of a condition, and where it is relative the number that this comes to."""
    metric, bound = condition.get("metric", ""), condition.get("bound")
    numbers = bound if isinstance(bound, list) else [bound]
    value = " to ".join(number(one, metric) for one in numbers)
    rule = condition.get("rule")
    if not rule:
        return value
    relative = any(stage in rule for stage in ("before", "reference"))
    return f"{rule} = {value}" if relative else str(rule)


def duration(seconds: float | None) -> str:
    """Write seconds as a person would: ``4.2 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float | None) -> str:
    """Write a number of bytes in MiB or GiB."""
    if count is None:
        return MISSING
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Sort flat metric names into the groups of the catalogue, the whole-model numbers first.

    Within a group the order is that of the catalogue, then by name; groups that it does not know
    (``kpi``, ``attack`` …) follow by name.
    """
    catalogue = Catalogue()
    groups: dict[str, list[str]] = {}
    for name in order(names):
        groups.setdefault(catalogue[name].group, []).append(name)
    known = [group for group in GROUPS if group in groups]
    return {group: groups[group] for group in [*known, *sorted(groups.keys() - set(known))]}


def way_words(safety: Mapping[str, Any]) -> str:
    """Say what the retain loss did on the way, from the record's `safety`."""
    beyond, bound = safety["beyond"], number(safety["bound"])
    steps = "no step" if not beyond else f"{beyond} step{'s' if beyond > 1 else ''}"
    largest = f"{number(safety['largest'])} at most (step {safety['step']})"
    return f"retain loss {number(safety['first'])} at first, {largest}; {steps} beyond {bound}"
