"""The traffic light of a condition, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NARROW = 0.02
"""How near to its bound a share is met narrowly; of other numbers, this part of the bound."""
NO_SHARES = ("loss", "truth_ratio", "repetition")
"""Measures of a split that are no share of an answer, or not of a right one."""


def light_of(condition: Mapping[str, Any]) -> str:
    """Return `green`, `yellow` where a condition is met narrowly, or `red`."""
    if not condition["met"]:
        return "red"
    value, low, high = condition["value"], *bounds_of(condition)
    for bound in (low, high):
        near = NARROW * (1 if is_share(condition["metric"]) else abs(bound or 0))
        trivial = bound is None or (is_share(condition["metric"]) and not 0 < bound < 1)
        if not trivial and abs(value - bound) < near:
            return "yellow"
    return "green"


def bounds_of(condition: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return between which numbers a value must lie; None where nothing bounds it."""
    bound = condition["bound"]
    if isinstance(bound, (list, tuple)):
        return bound[0], bound[1]
    return (None, bound) if condition["rule"].startswith("at most") else (bound, None)


def is_share(metric: str) -> bool:
    """Return whether a metric is a share, told in per cent."""
    split, _, name = metric.rpartition("/")
    if split.startswith("attack"):
        return name.endswith("recovered")
    return metric == "model_utility" or (
        split.partition("/")[0] not in ("", "kpi", "lm_eval")
        and name.partition("_arithmetic")[0] not in NO_SHARES
    )


def shown(metric: str, value: float | None) -> str:
    """Return a number as people read it: shares in per cent, others with three digits."""
    if value is None:
        return "–"
    if not is_share(metric):
        return f"{value:.3g}"
    percent = 100 * value
    if 0 < percent < 0.05:
        return "< 0.1 %"
    return f"{percent:.0f} %" if abs(percent) >= 9.95 or percent == 0 else f"{percent:.1f} %"
