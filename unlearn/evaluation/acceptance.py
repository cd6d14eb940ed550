"""Acceptance: conditions on metrics, judged at the end of a run, or for the metrics of any step."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearn.errors import ConfigurationError

KINDS = ("at_least", "at_most", "within")
STAGES = ("before", "reference")
Metrics = Mapping[str, Mapping[str, float | None] | None]
"""Flat metrics by stage."""
SHOWN_NAMES = 4
"""Names that are suggested in place of an unknown one."""


@dataclass(frozen=True)
class Condition:
    """One condition on a metric of the stage `after`; x is its value at the stage `of`.

    | rule              | without `of`          | of: before, of: reference |
    |-------------------|-----------------------|---------------------------|
    | at_least: a       | value ≥ a             | value ≥ a·x               |
    | at_most: a        | value ≤ a             | value ≤ a·x               |
    | within: [a, b]    | a ≤ value ≤ b         | a·x ≤ value ≤ b·x         |
    | within: d         | (no meaning)          | x − d ≤ value ≤ x + d     |

    A factor of a negative x turns the sense around (0.98·(−100) lies above −100): for a metric that
    can be negative, such as privleak, use `within: d` or bounds of its own.
    """

    metric: str
    kind: str
    amount: float | tuple[float, float]
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
        if item.get("of") not in (None, *STAGES):
            problems.append(f"of: {item['of']!r}; allowed: before, reference, or left out")
        if len(kinds) != 1:
            problems.append(f"give exactly one of {', '.join(KINDS)}; found {kinds or 'none'}")
        elif problem := _amount_problem(kinds[0], item[kinds[0]], item.get("of")):
            problems.append(problem)
        if problems:
            raise ConfigurationError(problems)
        amount = item[kinds[0]]
        read = tuple(map(float, amount)) if isinstance(amount, Sequence) else float(amount)
        return Condition(item["metric"], kinds[0], read, item.get("of"))  # type: ignore[arg-type]

    @property
    def rule(self) -> str:
        """The condition in words, but for the metric: `at least 0.98 × before`."""
        stage = f" × {self.of}" if self.of else ""
        if isinstance(self.amount, tuple):
            return f"within {self.amount[0]:g} to {self.amount[1]:g}{stage}"
        if self.kind == "within":
            return f"within {self.amount:g} of {self.of}"
        return f"{self.kind.replace('_', ' ')} {self.amount:g}{stage}"

    def judge(self, metrics: Metrics) -> dict[str, Any]:
        """Return {metric, rule, bound, value, met} for the summary.

        `bound` is a number, or two for `within`; null where the value that it is relative to is
        missing. A missing number meets nothing.
        """
        value = (metrics.get("after") or {}).get(self.metric)
        base = (metrics.get(self.of) or {}).get(self.metric) if self.of else 1.0
        bound, met = None, False
        if base is not None:
            low, high = self.interval(base)
            met = value is not None and low <= value <= high
            bound = [low, high] if self.kind == "within" else high if math.isinf(low) else low
        return {
            "metric": self.metric,
            "rule": self.rule,
            "bound": bound,
            "value": value,
            "met": met,
        }

    def interval(self, base: float) -> tuple[float, float]:
        """Return between which numbers the value must lie, where `base` is x, or 1 without `of`."""
        if isinstance(self.amount, tuple):
            low, high = sorted(factor * base for factor in self.amount)
            return low, high
        if self.kind == "within":
            return base - self.amount, base + self.amount
        bound = self.amount * base
        return (bound, math.inf) if self.kind == "at_least" else (-math.inf, bound)


def _amount_problem(kind: str, amount: Any, of: Any) -> str | None:
    """Return what is wrong with the number or the two numbers of a rule."""
    if kind == "within" and isinstance(amount, Sequence) and not isinstance(amount, str):
        if len(amount) == 2 and all(map(_is_number, amount)) and amount[0] <= amount[1]:
            return None
        return f"within: {amount}; allowed: [LOW, HIGH], two numbers in this order, or a distance"
    if not _is_number(amount):
        return f"{kind}: {amount!r} is no number"
    if kind == "within":
        if of is None:
            return (
                f"within: {amount} needs `of: before` or `of: reference`; without it give two "
                "numbers, within: [LOW, HIGH]"
            )
        if amount < 0:
            return f"within: {amount}; allowed: 0 or more, a distance"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def condition_problems(
    conditions: Sequence[Condition | None],
    names: Collection[str],
    of_reference: Collection[str],
    reference: bool,
    later: Sequence[str] = (),
) -> list[str]:
    """Return what is wrong with conditions on metrics that will not be there; before any model.

    `conditions` has None for one that could not be read; `names` is what will be measured, and of
    `of_reference`, what is measured against a reference, has those alone that have one. `reference`
    says whether there can be one. Names that begin as `later` says, such as kpi/, are known only
    once they are measured.
    """
    problems = []
    for number, condition in enumerate(conditions):
        if condition is None or condition.metric.startswith(tuple(later)):
            continue
        field, metric = f"accept.conditions[{number}]", condition.metric
        if metric in of_reference and not reference:
            problems.append(
                f"{field}.metric: {metric} is measured against a reference, but reference=none; "
                "give reference=train or the path of a retain-only model"
            )
        elif metric in of_reference and condition.of == "reference":
            problems.append(
                f"{field}.of: reference, but {metric} compares with the reference already; give a "
                "bound without `of`"
            )
        elif metric not in names:
            problems.append(unknown(field, metric, names))
    return problems


def unknown(field: str, metric: str, names: Iterable[str]) -> str:
    """Say that a metric is not measured, with the names that look like it."""
    names = sorted(names)
    if metric.startswith("kpi/") and not any(name.startswith("kpi/") for name in names):
        advice = "it is a business measure, and evaluation.kpis names none that gives it"
    elif metric.startswith("lm_eval/") and not any(name.startswith("lm_eval/") for name in names):
        advice = "it is of lm-evaluation-harness, and evaluation.lm_eval.tasks names no task"
    else:
        close = difflib.get_close_matches(metric, names, SHOWN_NAMES, 0.5)
        last = metric.rpartition("/")[2]
        close += [name for name in names if name.endswith(f"/{last}") and name not in close]
        shown = close[:SHOWN_NAMES] or names
        advice = f"{'did you mean' if close else 'measured are'} {', '.join(shown)}"
        advice += "?" if close else ""
    return f"{field}.metric: {metric!r} is not measured here; {advice}"


def require_measured(conditions: list[Condition], metrics: Collection[str]) -> None:
    """Raise ConfigurationError for a metric that is not among `metrics`, all that will be measured.

    To be called before training: after it a misspelt name would have cost the run.
    """
    problems = [
        unknown(f"accept.conditions[{number}]", condition.metric, metrics)
        for number, condition in enumerate(conditions)
        if condition.metric not in metrics
    ]
    if problems:
        raise ConfigurationError(problems)


def judge(conditions: Sequence[Condition], metrics: Metrics) -> dict[str, Any]:
    """Return the verdict: accepted where all conditions are met, None where there are none.

    During training, `metrics["after"]` is what was measured at the step.
    """
    judged = [condition.judge(metrics) for condition in conditions]
    accepted = all(item["met"] for item in judged) if judged else None
    return {"accepted": accepted, "conditions": judged}
