"""The group of runs that a comparison would take, and the rule by which."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from unlearn.metrics.catalogue import BABBLES
from unlearn.report.comparison.runs import Run
from unlearn.report.comparison.standing import GONE, KEPT, MOVED, NEAR, Standing
from unlearn.report.plane import PLANES

WORDS = {
    "verbmem": "passages recited",
    "knowmem": "questions answered",
    "rougeL_recall": "ROUGE-L recall",
    "probability": "probability",
    "truth_ratio": "truth ratio",
}
"""What the metrics of :data:`NEAR` are called in the rule."""


class Choice(NamedTuple):
    """The index of the group that is taken, and what is to be said where none is."""

    place: int | None
    why_none: str


def choose(groups: Sequence[Sequence[Standing]], front: Sequence[int]) -> Choice:
    """Choose the group nearest the reference; `groups` holds where the runs of each stand.

    Not among the groups on the front alone: that is one of one forget metric, on which a group may
    be nearer and stand farther off in all others. Of equals the first on the front is taken.
    """
    barred = [any(one.babbles or one.forgot_nothing for one in group) for group in groups]
    if not front:
        why = ": all babble or forgot nothing" if barred and all(barred) else ""
        return Choice(None, f"no group is on the front{why}")
    others = (place for place in range(len(groups)) if place not in front and not barred[place])
    fit = [place for place in (*front, *others) if _fit(groups[place])]
    if not fit:
        why = f"keeps {KEPT:.0%} of retain and utility and goes {GONE:.0%} of the way"
        return Choice(None, f"no group {why}")

    def far(place: int) -> float:
        near = _mean([one.near for one in groups[place]])
        return float("inf") if near is None else near

    return Choice(min(fit, key=far), "")


def rule(runs: Sequence[Run], measure: str | None) -> str:
    """Say in one sentence how the group was chosen among these runs."""
    flats = [run.metrics.get("reference", {}) for run in runs]
    near = [WORDS[name] for name in NEAR if any(f"forget/{name}" in flat for flat in flats)]
    label = PLANES.get(measure or "", "score")
    goal = f"the one whose forget metrics ({', '.join(near)}) are nearest the reference's"
    if not near:
        goal = f"the one whose {label} on the forget rows is lowest, down to its floor"
    end = "the reference" if near else "forgetting"
    return (
        f"of the groups that keep {KEPT:.0%} of the {label} on retain rows and of the utility of "
        f"before, and went at least {GONE:.0%} of the way to {end}, {goal} in the mean; neither "
        "that nor on the front is a group where a run repeats more than "
        f"{BABBLES:.0%} of the 4-grams of its forget answers (babbles), or went less than "
        f"{MOVED:.0%} of that way (forgot nothing)"
    )


def _fit(group: Sequence[Standing]) -> bool:
    """Return whether a group kept enough, and forgot enough where that was measured."""
    kept, moved = _mean([one.kept for one in group]), _mean([one.moved for one in group])
    return kept is not None and kept >= KEPT and (moved is None or moved >= GONE)


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return fmean(found) if found else None
