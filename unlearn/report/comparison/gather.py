"""From folders to sections of groups: the whole comparison, before anything is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from unlearn.errors import ConfigurationError
from unlearn.record.resuming import leaves_of
from unlearn.report.comparison.groups import Group, Section
from unlearn.report.comparison.likeness import apart, differences
from unlearn.report.comparison.runs import Run, find_runs, in_words, read_runs


@dataclass(frozen=True)
class Comparison:
    """Everything that is shown of some runs."""

    sections: tuple[Section, ...]
    failed: tuple[Run, ...]
    """Runs that did not complete."""
    problems: tuple[str, ...]
    """A sentence on each record that could not be read."""

    @cached_property
    def common(self) -> frozenset[str]:
        """What every run was told, also those that failed; empty where all were told the same."""
        told = {frozenset(run.told) for run in [*self.failed, *self.runs]}
        return frozenset.intersection(*told) if len(told) > 1 else frozenset()

    def name(self, run: Run) -> str:
        """Return what this run was told and not every other one."""
        return in_words([one for one in run.told if one not in self.common])

    @property
    def runs(self) -> list[Run]:
        """The completed runs of all sections."""
        return [run for section in self.sections for run in section.runs]

    @property
    def groups(self) -> list[Group]:
        """The groups of all sections."""
        return [group for section in self.sections for group in section.groups]


def compare(paths: Sequence[Path], baseline: str | None = None) -> Comparison:
    """Read all runs at or below `paths` and sort them into sections and groups.

    `paths` are folders of runs or of sweeps. `baseline` is the label of the group that the others
    are compared with, or a part of one that fits no other; null is the first group of each section,
    the sweep's first job. Raises ConfigurationError where there is no run, or the baseline is no
    group.
    """
    runs, problems = read_runs(find_runs(paths))
    if not runs:
        raise ConfigurationError(
            problems
            or f"RUNS: no run in {', '.join(map(str, paths))}; a run's folder has a summary.json"
        )
    completed = [run for run in runs if run.error is None]
    failed = tuple(run for run in runs if run.error is not None)
    classes = apart(completed)
    grouped = [_groups(like) for like in classes]
    chosen = _baselines(grouped, baseline)
    sections = [
        Section(
            tuple(groups),
            in_words(sorted(groups[0].common)) if groups[0].common else "",
            tuple(differences(like[0], classes[0][0])) if like is not classes[0] else (),
            first,
        )
        for like, groups, first in zip(classes, grouped, chosen, strict=True)
    ]
    return Comparison(tuple(sections), failed, tuple(problems))


def _groups(runs: Sequence[Run]) -> list[Group]:
    """Return the groups in the order of their first runs."""
    alike: dict[tuple[tuple[str, ...], str], list[Run]] = {}
    for run in runs:
        config = json.dumps(run.compared, sort_keys=True, default=str)
        alike.setdefault((run.told, config), []).append(run)
    common: frozenset[str] = frozenset()
    if len(alike) > 1:
        common = frozenset.intersection(*(frozenset(told) for told, _ in alike))
    groups = []
    for (told, _), members in alike.items():
        others = [them[0] for (words, _), them in alike.items() if words == told]
        groups.append(Group((*told, *_unsaid(members[0], others)), common, tuple(members)))
    return groups


def _unsaid(run: Run, others: Sequence[Run]) -> list[str]:
    """Name what the overrides do not: settings in which runs that were told the same differ."""
    flat = [leaves_of(other.compared) for other in others]
    names = sorted({name for one in flat for name in one})
    differing = [name for name in names if len({str(one.get(name)) for one in flat}) > 1]
    own = leaves_of(run.compared)
    told = [f"({name}: {own.get(name, 'not set')})" for name in differing[:3]]
    return [*told, "(…)"] if len(differing) > 3 else told


def _baselines(sections: Sequence[Sequence[Group]], name: str | None) -> list[Group]:
    """Return the baseline of each section: the group that `name` fits, else the first."""
    if name is None:
        return [groups[0] for groups in sections]
    labels = [group.label for groups in sections for group in groups]
    if not any(name in label for label in labels):
        raise ConfigurationError(f"--baseline: no group fits {name!r}; there are: {_list(labels)}")
    chosen = []
    for groups in sections:
        fitting = [group for group in groups if group.label == name]
        fitting = fitting or [group for group in groups if name in group.told]
        fitting = fitting or [group for group in groups if name in group.label]
        if len(fitting) > 1:
            raise ConfigurationError(
                f"--baseline: {name!r} fits more than one group; give the whole label of one: "
                f"{_list([group.label for group in fitting])}"
            )
        chosen.append(fitting[0] if fitting else groups[0])
    return chosen


def _list(labels: Sequence[str]) -> str:
    return "; ".join(labels[:8]) + ("; …" if len(labels) > 8 else "")
