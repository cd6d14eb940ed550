"""Acceptance: conditions on metrics, judged at the end of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from unlearn.errors import ConfigurationError

KINDS = ("at_least", "at_most", "within")
STAGES = ("before", "reference")
Metrics = Mapping[str, Mapping[str, float | None] | None]
"""Flat metrics by stage."""


@dataclass(frozen=True)
class Condition:
    """One condition on a metric of the stage `after`.

    With `of` (before | reference) the bound is relative to the metric's value x at that stage:
    at_least, at_most: the bound is `amount`·x; within: |value − x| ≤ `amount`. Without it the bound
    is `amount` itself, and `within` has no meaning.
    """

    metric: str
    kind: str
    amount: float
    of: str | None = None

    @staticmethod
    def read(item: Any) -> Condition:
        """Read {metric, at_least | at_most | within, of}; raises ConfigurationError."""
        if not isinstance(item, Mapping):
            raise ConfigurationError(
                f"{item!r} is no condition; write {{metric: NAME, at_least: NUMBER}}"
            )
        problems = []
        kinds = [kind for kind in KINDS if kind in item]
        unknown = set(item) - {"metric", "of", *KINDS}
        if unknown:
            keys = ", ".join(sorted(map(str, unknown)))
            problems.append(f"unknown key {keys}; allowed: metric, of, {', '.join(KINDS)}")
        if not isinstance(item.get("metric"), str):
            problems.append(
                f"metric: {item.get('metric')!r}; give a name such as retain/rougeL_recall"
            )
        if len(kinds) != 1:
            problems.append(f"give exactly one of {', '.join(KINDS)}; found {kinds or 'none'}")
        elif isinstance(item[kinds[0]], bool) or not isinstance(item[kinds[0]], (int, float)):
            problems.append(f"{kinds[0]}: {item[kinds[0]]!r} is no number")
        if item.get("of") not in (None, *STAGES):
            problems.append(f"of: {item['of']!r}; allowed: before, reference, or left out")
        if kinds == ["within"] and item.get("of") is None:
            problems.append("within needs `of: before` or `of: reference`")
        if problems:
            raise ConfigurationError(problems)
        return Condition(item["metric"], kinds[0], float(item[kinds[0]]), item.get("of"))

    def judge(self, metrics: Metrics) -> dict[str, Any]:
        """Return {metric, rule, bound, value, met} for the summary; a missing number is not met."""
        value = (metrics.get("after") or {}).get(self.metric)
        base = (metrics.get(self.of) or {}).get(self.metric) if self.of else 1.0
        words = self.kind.replace("_", " ")
        rule = f"{words} {self.amount:g}"
        if self.of:
            rule += f" of {self.of}" if self.kind == "within" else f" × {self.of}"
        bound, met = None, False
        if base is not None:
            bound = base if self.kind == "within" else self.amount * base
            met = value is not None and self._holds(value, bound)
        return {"metric": self.metric, "rule": rule, "bound": bound, "value": value, "met": met}

    def _holds(self, value: float, bound: float) -> bool:
        if self.kind == "within":
            return abs(value - bound) <= self.amount
        return value >= bound if self.kind == "at_least" else value <= bound


def require_measured(conditions: list[Condition], metrics: Collection[str]) -> None:
    """Raise ConfigurationError for a metric that is not among `metrics`, all that will be measured.

    To be called before training: after it a misspelt name would have cost the run.
    """
    unknown = [
        f"accept.conditions[{number}].metric: {condition.metric!r} is not measured here; "
        f"measured are {', '.join(sorted(metrics))}"
        for number, condition in enumerate(conditions)
        if condition.metric not in metrics
    ]
    if unknown:
        raise ConfigurationError(unknown)


def judge(conditions: list[Condition], metrics: Metrics) -> dict[str, Any]:
    """Return the verdict: accepted where all conditions are met, None where there are none."""
    judged = [condition.judge(metrics) for condition in conditions]
    accepted = all(item["met"] for item in judged) if judged else None
    return {"accepted": accepted, "conditions": judged}
