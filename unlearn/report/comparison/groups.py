"""Runs that differ in their seed alone are one group; groups of like runs are one section."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from unlearn.metrics.catalogue import Catalogue
from unlearn.report.comparison.numbers import COLUMNS, OWN, cell, numbers
from unlearn.report.comparison.runs import Run, in_words
from unlearn.report.comparison.statistics import Difference, paired_difference
from unlearn.report.front import Point, hypervolume, pareto_front
from unlearn.report.plane import plane_of

CORNER: Point = (1.0, 0.0)
"""The worst corner of the plane, everything known and nothing kept: the hypervolume starts here."""


@dataclass(frozen=True)
class Group:
    """Completed runs that differ in their seed alone."""

    told: tuple[str, ...]
    """What the runs were told; where that does not tell groups apart, what differs as well."""
    common: frozenset[str]
    """What every group of the section was told."""
    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        """What the runs were told, in one line."""
        return in_words(self.told)

    @property
    def short(self) -> str:
        """The label without what every group of the section was told."""
        return in_words([one for one in self.told if one not in self.common])

    @cached_property
    def numbers(self) -> list[dict[str, float]]:
        """The compared numbers, a run each."""
        return [numbers(run) for run in self.runs]

    @property
    def seeds(self) -> set[int]:
        """The seeds that were run."""
        return {run.seed for run in self.runs}

    def values(self, column: str) -> list[float]:
        """The numbers of one column, of those runs that have it."""
        return [run[column] for run in self.numbers if column in run]

    def cell(self, column: str) -> str:
        """Mean ± standard deviation of one column; a dash where nothing was measured."""
        return cell(column, self.values(column))

    @property
    def accepted(self) -> str:
        """How many runs were accepted; nothing where none had conditions."""
        judged = [run.accepted for run in self.runs if run.accepted is not None]
        return f"{sum(judged)} of {len(judged)}" if judged else ""

    @property
    def each(self) -> list[Group]:
        """The runs, each as a group of its own."""
        return [replace(self, runs=(run,)) for run in self.runs]

    def by_seed(self, column: str) -> dict[int, float]:
        """The numbers of one column by seed, the mean where a seed was run twice."""
        found: dict[int, list[float]] = {}
        for run, values in zip(self.runs, self.numbers, strict=True):
            if column in values:
                found.setdefault(run.seed, []).append(values[column])
        return {seed: fmean(values) for seed, values in found.items()}

    def point(self, measure: str) -> Point:
        """The means on the forget-retain plane, NaN where a split was not measured."""
        values = [self.values(f"{split}/{measure}") for split in ("forget", "retain")]
        forget, retain = (fmean(found) if found else float("nan") for found in values)
        return forget, retain


@dataclass(frozen=True)
class Section:
    """Groups that may be compared with each other."""

    groups: tuple[Group, ...]
    common: str
    """What every group was told, in one line; empty where nothing, or where there is one group."""
    unlike: tuple[str, ...]
    """In words, what keeps this section from the first; empty for the first itself."""
    baseline: Group
    """The group that the others are compared with."""

    @property
    def runs(self) -> list[Run]:
        """All runs, group by group."""
        return [run for group in self.groups for run in group.runs]

    @cached_property
    def columns(self) -> dict[str, str]:
        """The numbers that any of the runs has, with their titles; those of COLUMNS first."""
        measured = {name for group in self.groups for run in group.numbers for name in run}
        titles = {name: title for name, title in COLUMNS.items() if name in measured}
        return titles | {name: name for name in sorted(measured - COLUMNS.keys())}

    @property
    def judged(self) -> bool:
        """Whether any run had conditions."""
        return any(group.accepted for group in self.groups)

    @property
    def axes(self) -> list[str]:
        """The two columns that span the forget-retain plane; none where it cannot be drawn."""
        return [f"{split}/{self.measure}" for split in ("forget", "retain") if self.measure]

    @cached_property
    def measure(self) -> str | None:
        """What the forget-retain plane is drawn by."""
        return plane_of(values for group in self.groups for values in group.numbers)

    def better(self, column: str) -> str:
        """Say which way is good, as the runs recorded it; nothing where nobody said, or not all."""
        ways = {catalogue[column].words for catalogue in self._catalogues}
        return ways.pop() if len(ways) == 1 else ""

    @cached_property
    def _catalogues(self) -> list[Catalogue]:
        found = [Catalogue.recorded(run.summary) for run in self.runs]
        for catalogue in found:
            catalogue.declare(*OWN)
        return found

    @cached_property
    def points(self) -> list[Point]:
        """The groups' means on the plane."""
        return [group.point(self.measure) for group in self.groups] if self.measure else []

    @cached_property
    def front(self) -> list[int]:
        """Indices of the groups whose means no other group's mean beats, by rising forget."""
        return pareto_front(self.points)

    @property
    def front_names(self) -> list[str]:
        """The labels of the groups on the front."""
        return [self.groups[place].short for place in self.front]

    @cached_property
    def hypervolume(self) -> float:
        """The share of the plane that the groups' means dominate."""
        return hypervolume(self.points, CORNER)

    def difference(self, group: Group, column: str) -> Difference | None:
        """Group − baseline over the seeds that both have."""
        if group is self.baseline:
            return None
        return paired_difference(group.by_seed(column), self.baseline.by_seed(column))

    def differences(
        self, group: Group, columns: Iterable[str]
    ) -> tuple[dict[str, Difference | None], int]:
        """The differences of a group by column, and the pairs that the most of them are made of."""
        found = {column: self.difference(group, column) for column in columns}
        return found, max((one.pairs for one in found.values() if one), default=0)

    @property
    def notes(self) -> list[str]:
        """What a reader should know of the groups before trusting their means."""
        twice = [group.short for group in self.groups if len(group.seeds) < len(group.runs)]
        mixed = [group.short for group in self.groups if len(_targets(group.runs)) > 1]
        notes = []
        if twice:
            notes.append(f"a seed is there more than once in {_some(twice)}")
        if mixed:
            notes.append(f"seeds of one group unlearned different targets: {_some(mixed)}")
        elif len(_targets(self.runs)) > 1:
            notes.append(f"the groups unlearned {len(_targets(self.runs))} different targets")
        return notes


def _targets(runs: Sequence[Run]) -> set[str]:
    hashes = [run.provenance.get("target_sha256") for run in runs]
    return {str(one) for one in hashes if one is not None}


def _some(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return "; ".join(labels[:3]) + more
