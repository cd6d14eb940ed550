"""Runs that differ in their seed alone are one group; groups of like runs are one section."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from unlearn.report.comparison.numbers import COLUMNS, OWN, cell, numbers
from unlearn.report.comparison.planes import Drawn, planes_of
from unlearn.report.comparison.recommendation import Choice, choose, rule
from unlearn.report.comparison.runs import Run, in_words
from unlearn.report.comparison.standing import Standing, standing
from unlearn.report.comparison.statistics import Difference, paired_difference
from unlearn.report.plane import plane_of


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

    @cached_property
    def standings(self) -> list[Standing]:
        """Where the runs stand."""
        return [standing(run) for run in self.runs]

    @property
    def babbles(self) -> bool:
        """Whether any run answers in repetitions."""
        return any(one.babbles for one in self.standings)

    @property
    def forgot_nothing(self) -> bool:
        """Whether any run stands where its target stood."""
        return any(one.forgot_nothing for one in self.standings)

    @property
    def told_of(self) -> str:
        """In words, what keeps it off the fronts, or that it forgot more than the reference."""
        below = [one.below for one in self.standings if one.below is not None]
        found = ["babbles"] if self.babbles else []
        found += ["forgot nothing"] if self.forgot_nothing else []
        if any(below):
            few = "" if all(below) else f" ({sum(below)} of {len(below)})"
            found.append(f"below the reference{few}")
        return ", ".join(found)


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
    def details(self) -> set[str]:
        """The numbers that say more of an attack whose recovered share is there."""
        attacks = [name for name in self.columns if name.startswith("attack/")]
        return {one for one in attacks if any(one.startswith(f"{other}_") for other in attacks)}

    @property
    def shares(self) -> list[str]:
        """The recovered shares of the attacks."""
        return [n for n in self.columns if n.startswith("attack/") and n not in self.details]

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
        own = [metric.words for metric in OWN if metric.name == column]
        ways = {run.way(column) for run in self.runs} if not own else set(own)
        return ways.pop() if len(ways) == 1 else ""

    @cached_property
    def planes(self) -> list[Drawn]:
        """The planes on which any group was measured; the first is that of front and choice."""
        groups = [group.runs for group in self.groups]
        eligible = [not (group.babbles or group.forgot_nothing) for group in self.groups]
        drawn = [Drawn(plane, groups, eligible) for plane in planes_of(self.runs)]
        return [plane for plane in drawn if not plane.empty]

    @property
    def front(self) -> list[int]:
        """Indices of the groups whose means no other group's mean beats, by rising cost."""
        return self.planes[0].front if self.measure else []

    @cached_property
    def choice(self) -> Choice:
        """The group that the comparison would take."""
        return choose([group.standings for group in self.groups], self.front)

    @property
    def rule(self) -> str:
        """The rule of the choice, in a sentence."""
        return rule(self.runs, self.measure)

    @property
    def hypervolume(self) -> float:
        """The share of the first plane that the groups' means dominate."""
        return self.planes[0].hypervolume if self.measure else 0.0

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
        unknown = sum(one.repeated is None for group in self.groups for one in group.standings)
        if unknown:
            of = f"{unknown} of {len(self.runs)} runs"
            notes.append(f"whether it babbles was not measured of {of}")
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
