"""The planes that runs are drawn on: which numbers span them, and which corner of them is best.

A point is drawn at (across, up) and counted as (cost, up), less and more being better: of a
distance the cost is the number itself, of what is better high its negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from unlearn.report.comparison.runs import Run
from unlearn.report.comparison.standing import UTILITY, distance_of, membership_of
from unlearn.report.front import Point, hypervolume, pareto_front
from unlearn.report.plane import PLANES, bottom_of, plane_of

NOWHERE = math.nan
LOWEST = 1e-12
"""Where a p-value is drawn that is lower still, on a scale that has no zero."""


class Place(NamedTuple):
    """Where a run, or a stage of it, lies on a plane; NaN where it was not measured."""

    across: float
    cost: float
    up: float
    below: bool = False
    """Whether the forget metric is below the reference's: over-forgotten."""

    @property
    def shown(self) -> Point:
        """Where it is drawn."""
        return self.across, self.up


MISSING = Place(NOWHERE, NOWHERE, NOWHERE)


@dataclass(frozen=True)
class Plane:
    """Two numbers beside each other, and what of both is good."""

    name: str
    across: str
    """The title of the horizontal axis, the way that is good included."""
    up: str
    corner: Point
    """The worst corner, by cost: the hypervolume is counted from here."""
    place: Callable[[Run, str], Place]
    """Where a stage of a run lies."""
    log: bool = False
    floor: float | None = None
    """Without a reference: where lower stops being better."""


class Drawn:
    """A plane with the groups of a section on it."""

    def __init__(
        self, plane: Plane, groups: Sequence[Sequence[Run]], eligible: Sequence[bool]
    ) -> None:
        """`eligible`: by group, whether it may be on the front."""
        self.plane = plane
        self._runs = [run for runs in groups for run in runs]
        self.each = [[plane.place(run, "after") for run in runs] for runs in groups]
        self.places = [_mean(places) for places in self.each]
        self._eligible = eligible

    @cached_property
    def points(self) -> list[Point]:
        """The groups' means as they are counted; NaN for one that may not be on the front."""
        return [
            (place.cost, place.up) if may else (NOWHERE, NOWHERE)
            for place, may in zip(self.places, self._eligible, strict=True)
        ]

    @cached_property
    def front(self) -> list[int]:
        """Indices of the groups on the front, by rising cost."""
        return pareto_front(self.points)

    @cached_property
    def hypervolume(self) -> float:
        """The area that the groups on the front dominate."""
        return hypervolume(self.points, self.plane.corner)

    @property
    def stairs(self) -> list[Point]:
        """Return the border of what the front dominates, as it is drawn."""
        stairs = staircase([self.points[place] for place in self.front], self.plane.corner)
        if self.plane.log:
            return [(max(-x, LOWEST), y) for x, y in stairs]
        return stairs

    @cached_property
    def landmarks(self) -> dict[str, list[Point]]:
        """Return where targets and references lie, equal ones once."""
        found: dict[str, list[Point]] = {}
        for run in self._runs:
            for name, stage in (("target", "before"), ("reference", "reference")):
                point = self.plane.place(run, stage).shown
                places = found.setdefault(name, [])
                if measured(point) and all(_apart(point, place) for place in places):
                    places.append(point)
        return {name: places for name, places in found.items() if places}

    @property
    def bottom(self) -> float:
        """Where the vertical axis begins, so that all that is drawn lies above."""
        return bottom_of(y for _, y in self._drawn)

    @property
    def reach(self) -> tuple[float, float]:
        """Where the horizontal axis begins and ends: at steps, so that figures can be compared."""
        xs = [x for x, _ in self._drawn]
        if self.plane.log:
            return min([0.05, *xs]) / 2, 1.5
        right = next((end for end in (0.25, 0.5) if max(xs, default=1) <= end), 1.0)
        return -0.03 * right, 1.03 * right

    @property
    def below(self) -> bool:
        """Whether anything that is drawn has forgotten more than the reference."""
        return any(place.below for places in self.each for place in places)

    @property
    def _drawn(self) -> list[Point]:
        places = [place for places in [self.places, *self.each] for place in places]
        marks = [point for points in self.landmarks.values() for point in points]
        return [point for point in [*marks, *(p.shown for p in places)] if measured(point)]

    @property
    def empty(self) -> bool:
        """Whether no group was measured on both axes."""
        return all(math.isnan(place.cost) or math.isnan(place.up) for place in self.places)


def measured(point: Sequence[float]) -> bool:
    """Return whether a point has a place."""
    return all(map(math.isfinite, point))


def _apart(one: Point, other: Point) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) > 1e-3


def staircase(points: list[Point], corner: Point) -> list[Point]:
    """Return the border of what the points of a front, by rising cost, dominate."""
    if not points:
        return []
    corners = [(points[0][0], corner[1]), points[0]]
    for (_, height), (x, y) in pairwise(points):
        corners += [(x, height), (x, y)]
    return [*corners, (max(corner[0], points[-1][0]), points[-1][1])]


def planes_of(runs: Sequence[Run]) -> list[Plane]:
    """Return the planes that these runs may be drawn on, the first being that of the front."""
    planes = []
    measure = plane_of(run.metrics.get("after", {}) for run in runs)
    if measure is not None:
        planes.append(_forgetting(runs, measure))
    after = [run.metrics.get("after", {}) for run in runs]
    if _measured(after, "forget_quality"):
        planes.append(_QUALITY)
    attack = next(filter(None, map(membership_of, after)), None)
    if attack is not None and _measured(after, UTILITY):
        planes.append(_membership(runs, attack))
    return planes


def _forgetting(runs: Sequence[Run], measure: str) -> Plane:
    """Forgetting beside keeping: the distance from the reference where every run has one."""
    forget, retain = f"forget/{measure}", f"retain/{measure}"
    beside = all(_level(run, forget) is not None for run in runs)
    label = PLANES[measure]

    def place(run: Run, stage: str) -> Place:
        flat, level = run.metrics.get(stage, {}), _level(run, forget)
        value, kept = flat.get(forget), flat.get(retain)
        if value is None or kept is None:
            return MISSING
        if beside and level is not None:
            cost = run.catalogue[forget].beside(level).distance(value)
            return Place(cost, cost, kept, value < level)
        return Place(value, run.catalogue[forget].distance(value), kept)

    floor = None if beside else runs[0].catalogue[forget].floor
    across = f"{label} on forget rows, distance from the reference's (less is better)"
    if not beside:
        until = "" if floor is None else f" down to {floor:g}"
        across = f"{label} on forget rows (lower is better{until})"
    up = f"{label} on retain rows (higher is better)"
    name = "forget distance × retain" if beside else "forget × retain"
    return Plane(name, across, up, (1.0, 0.0), place, floor=floor)


def _quality(run: Run, stage: str) -> Place:
    flat = run.metrics.get(stage, {})
    value, utility = flat.get("forget_quality"), flat.get(UTILITY)
    if value is None or utility is None:
        return MISSING
    return Place(max(value, LOWEST), -value, utility)


_QUALITY = Plane(
    "forget quality × model utility",
    "forget quality, a p-value (higher is better)",
    "model utility (higher is better)",
    (0.0, 0.0),
    _quality,
    log=True,
)
"""The figure of TOFU's paper (2401.06121), its axes exchanged."""


def _membership(runs: Sequence[Run], attack: str) -> Plane:
    beside = all(_level(run, attack) is not None for run in runs)

    def place(run: Run, stage: str) -> Place:
        cost, utility = distance_of(run, attack, stage), run.metrics.get(stage, {}).get(UTILITY)
        return MISSING if cost is None or utility is None else Place(cost, cost, utility)

    goal = "the reference's" if beside else "0.5"
    return Plane(
        "membership distance × model utility",
        f"AUC of {attack}, distance from {goal} (less is better)",
        "model utility (higher is better)",
        (1.0, 0.0),
        place,
    )


def _level(run: Run, name: str) -> float | None:
    return run.metrics.get("reference", {}).get(name)


def _measured(flats: Iterable[dict[str, float | None]], name: str) -> bool:
    return any(flat.get(name) is not None for flat in flats)


def _mean(places: Sequence[Place]) -> Place:
    """Return the mean of the runs that were measured."""
    found = [place for place in places if not math.isnan(place.cost)]
    if not found:
        return MISSING
    across, cost, up = (fmean(place[i] for place in found) for i in range(3))
    return Place(across, cost, up, sum(place.below for place in found) * 2 > len(found))
