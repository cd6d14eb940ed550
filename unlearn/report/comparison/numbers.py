"""Which numbers of a run are compared, what they are called, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence

from unlearn.metrics.catalogue import Metric
from unlearn.report.comparison.runs import Run
from unlearn.report.comparison.standing import standing
from unlearn.report.comparison.statistics import spread

COLUMNS = {
    "forget_distance": "forget distance",
    "forget/rougeL_recall": "forget ROUGE-L",
    "retain/rougeL_recall": "retain ROUGE-L",
    "forget/verbmem": "forget verbmem",
    "forget/knowmem": "forget knowmem",
    "retain/knowmem": "retain knowmem",
    "retain_kept": "retain kept",
    "forget/probability": "forget prob.",
    "retain/probability": "retain prob.",
    "model_utility": "utility",
    "forget_quality": "forget quality",
    "membership_distance": "membership distance",
    "forget/repetition": "repeated 4-grams",
    "overshoot": "overshoot",
    "largest_retain_loss": "largest retain loss",
    "steps_beyond": "unsafe steps",
    "train_s": "train s",
}
"""Compared numbers; `forget_distance` is how far the plane's forget metric is from the reference's,
`retain_kept` retain ROUGE-L after ÷ before, `membership_distance` how far an attack's AUC is from
the reference's (without one from 0.5), `overshoot` the NLL of the forget rows minus the
reference's: above 0 they are less likely than had they never been learnt. `largest_retain_loss`
and `steps_beyond` tell how safe the way was (:mod:`unlearn.record.safety`)."""
UNPRINTED = (
    "membership_distance",
    "overshoot",
    "forget/probability",
    "retain/probability",
    "largest_retain_loss",
)
"""Columns of page and CSV for which a terminal has no room beside others of their kind."""
OWN = (
    Metric("forget_distance", "lower"),
    Metric("membership_distance", "lower"),
    Metric("retain_kept", "higher"),
    Metric("overshoot", 0.0),
    Metric("largest_retain_loss", "lower"),
    Metric("steps_beyond", "lower"),
    Metric("train_s", "lower"),
)
"""Numbers that only a comparison has."""
FURTHER = ("attack/", "kpi/", "lm_eval/")
"""Groups of metrics that are columns of page and CSV as well, where a run has them."""
FORMS = {"train_s": ".0f", "steps_beyond": ".0f", "forget_quality": ".1e", "overshoot": ".1f"}
"""How a number is written where three decimals do not fit it."""


def numbers(run: Run) -> dict[str, float]:
    """Return the compared numbers of one completed run; those that it lacks are left out."""
    after, before = run.metrics.get("after", {}), run.metrics.get("before", {})
    values = {**after, "train_s": (run.summary.get("cost") or {}).get("train_s")}
    kept, base = after.get("retain/rougeL_recall"), before.get("retain/rougeL_recall")
    values["retain_kept"] = kept / base if kept is not None and base else None
    way = run.summary.get("safety") or {}
    values["largest_retain_loss"], values["steps_beyond"] = way.get("largest"), way.get("beyond")
    level = run.metrics.get("reference", {}).get("forget/loss")
    loss = after.get("forget/loss")
    stands = standing(run)
    # Without a reference it is the forget metric itself.
    values["forget_distance"] = None if stands.below is None else stands.distance
    values["membership_distance"] = stands.membership
    values["overshoot"] = loss - level if loss is not None and level is not None else None
    names = [*COLUMNS, *sorted(name for name in after if name.startswith(FURTHER))]
    found = {name: values.get(name) for name in names}
    return {name: float(value) for name, value in found.items() if value is not None}


def written(column: str, value: float) -> str:
    """Write one number of a column."""
    return f"{value:{FORMS.get(column, '.3f')}}"


def cell(column: str, values: Sequence[float]) -> str:
    """Write mean ± standard deviation; a dash where nothing was measured."""
    if not values:
        return "-"
    mean, deviation = spread(values)
    more = f" ± {written(column, deviation)}" if len(values) > 1 else ""
    return written(column, mean) + more
