"""How numbers and metric names are put in front of a person."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Headline(NamedTuple):
    """A metric that a reader looks for first."""

    label: str
    better: str


HEADLINES = {
    "forget_quality": Headline("forget quality (p-value)", "higher"),
    "model_utility": Headline("model utility", "higher"),
    "privleak": Headline("privacy leakage", "near 0"),
    "forget/verbmem": Headline("forget passages recited (ROUGE-L F1)", "lower"),
    "forget/knowmem": Headline("forget questions answered (ROUGE-L F1)", "lower"),
    "retain/knowmem": Headline("retain questions answered (ROUGE-L F1)", "higher"),
    "forget/rougeL_recall": Headline("forget ROUGE-L recall", "lower"),
    "forget/probability": Headline("forget probability", "lower"),
    "retain/rougeL_recall": Headline("retain ROUGE-L recall", "higher"),
    "retain/probability": Headline("retain probability", "higher"),
}
"""In the order in which they are shown."""

BETTER = {
    "forget/exact_memorization": "lower",
    "forget/extraction_strength": "lower",
    "retain/exact_memorization": "higher",
    "retain/extraction_strength": "higher",
    "mia": "as reference",
    "mia_reference": "near 0.5",
    "attack": "as reference",
}
"""Which way is good for metrics, or whole groups, that are no headline."""

GROUPS = ("whole model", "forget", "retain", "real_authors", "world_facts", "holdout", "mia")

GROUP_TITLES = {
    "mia": "membership attacks: AUC, 0.5 = forget rows look like holdout rows",
    "attack": "attacks: recovered shares (0 = nothing came back), and what they are made of",
}
"""What a group is called where its name would not do."""

MEASURES = (
    "verbmem",
    "knowmem",
    "rougeL_recall",
    "rouge1_recall",
    "probability",
    "truth_ratio",
    "exact_memorization",
    "extraction_strength",
    "loss",
)
"""Metrics of one split, in the order in which they are shown."""

MISSING = "–"


def better(metric: str) -> str:
    """Say which way is good, in a word or two; nothing where nobody can say."""
    if metric in HEADLINES:
        return HEADLINES[metric].better
    return BETTER.get(metric, BETTER.get(_group(metric), ""))


def number(value: object, metric: str = "") -> str:
    """Round to three digits; a p-value (``forget_quality``) is always in scientific form."""
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
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
    """Sort flat metric names into groups by split, the whole-model numbers first.

    Within a group the order is that of :data:`HEADLINES`, or of :data:`MEASURES` for a split, then
    by name; groups beyond :data:`GROUPS` (``kpi``, ``attack`` …) follow by name.
    """
    order = [*HEADLINES, *MEASURES]

    def rank(name: str) -> tuple[int, str]:
        key = name.split("/")[-1] if "/" in name else name
        return (order.index(key) if key in order else len(order), name)

    groups: dict[str, list[str]] = {}
    for name in sorted(set(names), key=rank):
        groups.setdefault(_group(name), []).append(name)
    known = [group for group in GROUPS if group in groups]
    return {group: groups[group] for group in [*known, *sorted(groups.keys() - set(known))]}


def _group(metric: str) -> str:
    """The split of a metric; the AUCs of membership attacks lie together without having one."""
    if "/" in metric:
        return metric.split("/")[0]
    return "mia" if metric.startswith("mia_") else "whole model"
