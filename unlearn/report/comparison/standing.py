"""Where a run stands: what it forgot, what it kept, and whether it still answers in sentences.

By this a comparison keeps runs off its fronts and names the one that it would take. Nothing here
knows of groups or pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from unlearn.metrics.catalogue import BABBLES, Metric
from unlearn.record.layout import Flat
from unlearn.report.comparison.runs import Run
from unlearn.report.plane import plane_of

MOVED = 0.05
"""Share of the way from the target to the reference that a run must have gone to have forgotten."""
GONE = 0.5
"""Share of that way that a run must have gone to be recommended."""
KEPT = 0.95
"""Share of the target's retain score and utility that a run must keep to be recommended."""
NEAR = ("rougeL_recall", "verbmem", "knowmem", "probability", "truth_ratio")
"""Forget metrics between 0 and 1, whose mean distance from the reference's decides between runs."""
MEMBERSHIP = ("mia_min_k", "mia_min_k_plus_plus", "mia_loss", "mia_zlib", "mia_gradient_norm")
"""Attacks of which the first that was measured is looked at; min-k is that of PrivLeak."""
UTILITY = "model_utility"


@dataclass(frozen=True)
class Standing:
    """What is known of one run after unlearning; null where it was not measured."""

    distance: float | None
    """Of the forget metric of the plane from the reference's; without one lower is better, down to
    the floor."""
    below: bool | None
    """Whether that metric is below the reference's: over-forgotten; null without a reference."""
    moved: float | None
    """Share of the way from the target to the reference (without one, to the floor or 0)."""
    repeated: float | None
    """Share of repeated 4-grams in the forget answers."""
    near: float | None
    """Mean distance of the forget metrics from the reference's; without one, `distance`."""
    kept: float | None
    """Retain score and utility as shares of the target's, the smaller of both."""
    membership: float | None
    """Distance of the attack's AUC from the reference's, without one from 0.5."""

    @property
    def babbles(self) -> bool:
        """Whether its answers say the same again and again."""
        return self.repeated is not None and self.repeated > BABBLES

    @property
    def forgot_nothing(self) -> bool:
        """Whether it stands where the target stood."""
        return self.moved is not None and self.moved < MOVED


def standing(run: Run) -> Standing:
    """Return where a completed run stands."""
    before, after, reference = (
        run.metrics.get(stage, {}) for stage in ("before", "after", "reference")
    )
    measure = plane_of([after])
    name = f"forget/{measure}"
    value, level = after.get(name), reference.get(name)
    distance = distance_of(run, name, "after") if measure else None
    near = [
        abs(here - there)
        for metric in NEAR
        if (here := after.get(f"forget/{metric}")) is not None
        and (there := reference.get(f"forget/{metric}")) is not None
    ]
    shares = [share_kept(before, after, one) for one in (f"retain/{measure}", UTILITY)]
    kept = [share for share in shares if share is not None]
    return Standing(
        distance,
        value < level if measure and value is not None and level is not None else None,
        _moved(before.get(name), value, run.read_beside(name), level) if measure else None,
        after.get("forget/repetition"),
        fmean(near) if near else distance,
        min(kept) if kept else None,
        distance_of(run, membership_of(after), "after"),
    )


def distance_of(run: Run, name: str | None, stage: str) -> float | None:
    """Return a metric of a stage as a number of which less is better, beside the reference's."""
    value = run.metrics.get(stage, {}).get(name or "")
    metric = run.read_beside(name or "")
    if value is None or metric.better is None:
        return None
    return metric.distance(float(value))


def membership_of(flat: Flat) -> str | None:
    """Return the membership attack that a stage is judged by, if any was measured."""
    return next((name for name in MEMBERSHIP if flat.get(name) is not None), None)


def share_kept(before: Mapping[str, float | None], after: Flat, name: str) -> float | None:
    """Return a metric after unlearning as a share of before; null where either was not measured."""
    base, value = before.get(name), after.get(name)
    return value / base if base and value is not None else None


def _moved(
    before: float | None, after: float | None, metric: Metric, level: float | None
) -> float | None:
    """Return the share of the way that a run went; beyond the goal it is more than 1."""
    if before is None or after is None:
        return None
    goal = level if level is not None else metric.floor or 0.0
    way = before - goal
    # A target that knew no more than the goal leaves no way to go.
    return (before - after) / way if way > 0 else None
