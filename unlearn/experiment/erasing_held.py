"""What of a run folder quotes its rows: read, and held, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearn.errors import ConfigurationError
from unlearn.record.claim import claimed
from unlearn.record.layout import (
    BEGUN,
    LOG,
    RESCORED,
    SUMMARY,
    Progress,
    RunFolder,
    progress_of,
    read_lines,
    read_run,
    record_in,
)
from unlearn.report.comparison.runs import find_runs

GENERATIONS = "generations.jsonl"
PLACE = ("split", "quiz")
"""Texts of a line of generations that say which row it is, and quote none."""

Line = dict[str, Any]


@dataclass(frozen=True)
class Held:
    """A run folder with what quotes rows in it, read before anything is written."""

    run: RunFolder
    progress: Progress
    generations: dict[Path, list[Line]]
    """The lines of each file that still quotes a row."""
    records: dict[Path, Line] = field(default_factory=dict)
    """The run's record and those of its rescorings, where an error or a note may quote a row."""

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.run.path

    @property
    def lines(self) -> Iterator[Line]:
        """Every line that still quotes a row."""
        for lines in self.generations.values():
            yield from lines

    @cached_property
    def models(self) -> dict[str, str]:
        """Where the run's target and reference were, by role."""
        known = self.run.summary.get("model") or {}
        found = {role: (known.get(role) or {}).get("path") for role in ("target", "reference")}
        return {role: str(path) for role, path in found.items() if path}


def runs_below(folders: Sequence[Path]) -> list[Path]:
    """Return the runs at or below the folders; refuse a folder without one."""
    problems = []
    for folder in folders:
        runs = find_runs([folder])
        ours = [run for run in runs if any((run / name).exists() for name in (SUMMARY, BEGUN, LOG))]
        if not ours or len(ours) < len(runs):
            other = next((run for run in runs if run not in ours), folder)
            hint = "; give the folder of its run" if (other / RESCORED).exists() else ""
            problems.append(f"--clean: {other} is no folder of a run, so nothing is erased{hint}")
    if problems:
        raise ConfigurationError(problems)
    return find_runs(folders)


def hold(run: Path, stack: ExitStack) -> None:
    """Hold a run folder until the stack ends; refuse one in which a process is running."""
    try:
        stack.enter_context(claimed(run, wait=False))
    except ConfigurationError as error:
        raise ConfigurationError(
            f"--clean: a process is running in {run}, so nothing is erased; wait for its end"
        ) from error


def read_held(path: Path) -> Held:
    """Read what quotes rows in a run folder; a missing file quotes none."""
    try:
        files = sorted((path / "evaluations").rglob(GENERATIONS))
        read = {file: read_lines(file) for file in files}
        quoting = {file: lines for file, lines in read.items() if any(map(quotes, lines))}
        records = {
            file: record_in(file)
            for file in (path / SUMMARY, *(path / "evaluations").glob(f"*/{RESCORED}"))
            if file.exists()
        }
        if any(not isinstance(record, dict) for record in records.values()):
            raise ValueError("a record that is no mapping")
        run = read_run(path)
        assert run.config is not None and run.runtime is not None  # read now, or refused
        return Held(run, progress_of(path), quoting, records)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"--clean: {path} cannot be read, so nothing is erased: {error}"
        ) from error


def quotes(line: Mapping[str, Any]) -> bool:
    """Return whether a line of generations still holds a text."""
    return any(is_text(value) for name, value in line.items() if name not in PLACE)


def is_text(value: object) -> bool:
    """Return whether a value of such a line is none of its numbers."""
    return value is not None and not isinstance(value, int | float)
