"""Finding runs below some folders, and reading what a comparison needs of each.

What `unlearn-evaluate` left of a run, RUN/evaluations/NAME with its record.json, counts as a run
where that folder itself is named: below a run nothing is looked for.

A job that ended before it could leave a record (a wrong option, a kill) is a run as well: Hydra's
record of what it was told and the last error of its log are there.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearn.errors import ConfigurationError
from unlearn.record.layout import HYDRA, RESCORED, STAGES, SUMMARY, RunFolder, read_run
from unlearn.record.limits import LARGEST_TABLE, require_regular

UNCOMPARED = ("seed=", "hydra", "tracker", "+experiment=", "experiment=")
"""Overrides that tell nothing about a result, or that only the group of seeds differs in."""
DEEPEST = 40
"""Folders within each other that are searched for runs."""
OF_THE_RUN = ("seed", "tracker")
"""Parts of the configuration that runs of one group may differ in."""


@dataclass(frozen=True)
class Run(RunFolder):
    """A run as a comparison sees it: what it was told, its seed, and why it did not complete."""

    error: str | None = None
    """One line on why it did not complete; null where it did."""

    @cached_property
    def compared(self) -> dict[str, Any]:
        """The configuration without what seeds may differ in; empty where Hydra recorded none."""
        return {key: value for key, value in self.config.items() if key not in OF_THE_RUN}

    @property
    def told(self) -> tuple[str, ...]:
        """The overrides that tell something about a result, the seed left out."""
        told = [override for override in self.overrides if not override.startswith(UNCOMPARED)]
        # `method=linear` before `method.weighting.retain_share=0.9`: choices, then their options.
        return tuple(sorted(told, key=lambda override: ("." in override.split("=")[0], override)))

    @property
    def label(self) -> str:
        """What the run was told, in one line."""
        return in_words(self.told)

    @property
    def seed(self) -> int:
        """The seed, from the record or from what the job was told."""
        told = next((o[5:] for o in self.overrides if o.startswith("seed=")), "0")
        return int(self.summary.get("seed", told if told.isdigit() else 0))

    @property
    def accepted(self) -> bool | None:
        """The verdict; null where there were no conditions."""
        return (self.summary.get("verdict") or {}).get("accepted")


def in_words(told: Sequence[str]) -> str:
    """Return overrides in one line."""
    return " ".join(told) or "(defaults)"


def folders_of(arguments: Sequence[str]) -> list[Path]:
    """Return the folders that the arguments name, a pattern in its matches.

    Raises:
        ConfigurationError: where one names no folder.
    """
    folders = []
    for argument in arguments:
        matches = [argument] if os.path.isdir(argument) else sorted(glob.glob(argument))
        found = [Path(match) for match in matches if os.path.isdir(match)]
        if not found:
            raise ConfigurationError(
                f"RUNS: no such folder: {argument}; give folders of runs or of sweeps, or a "
                "pattern in quotation marks such as 'runs/*/*-sweep'"
            )
        folders += found
    return folders


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Return every run folder at or below the given paths, once each, in the order of its job."""
    found = {run.resolve(): run for path in paths for run in _below(path)}
    return sorted(found.values(), key=_order)


def _below(folder: Path) -> Iterator[Path]:
    own = (SUMMARY, RESCORED, HYDRA / "overrides.yaml")
    level = [folder]
    for _ in range(DEEPEST):
        below: list[Path] = []
        for place in level:
            if any((place / name).exists() for name in own):
                yield place  # and nothing below: checkpoints and models hold no runs
                continue
            with suppress(FileNotFoundError):  # renamed or removed since, by a run that writes
                below += [p for p in place.iterdir() if p.is_dir() and not p.is_symlink()]
        level = below


def _order(run: Path) -> list[Any]:
    """Sort `10-…` behind `9-…`; text and numbers alternate, so that they never meet."""
    number, _, rest = run.name.partition("-")
    return [str(run.parent), int(number) if number.isdigit() else -1, rest, run.name]


def read_runs(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Read run folders; returns the runs, and a sentence on each record that cannot be read."""
    runs, problems = [], []
    for path in paths:
        try:
            runs.append(_read(path))
        except (OSError, ValueError) as error:
            problems.append(f"{_record_of(path)} cannot be read and is left out: {error}")
    return runs, problems


def _read(path: Path) -> Run:
    """Read one run, its configuration included, so that a broken file is told of here."""
    summary = _mapping(read_run(path).summary)
    run = Run(path, summary)
    assert run.compared is not None and run.overrides is not None
    if not _record_of(path).exists():
        return replace(run, error=run.last_error())
    missing = [key for key in ("status", "overrides", "metrics") if key not in summary]
    if missing:
        raise ValueError(f"it is no record of a run, as it has no {', '.join(missing)}")
    if not isinstance(summary["status"], str):
        raise ValueError(f"status: {summary['status']!r} is no text")
    if summary["status"] != "completed":
        return replace(run, error=str(summary.get("error") or summary["status"]).split("\n")[0])
    if "after" not in _mapping(summary["metrics"]):
        raise ValueError("a completed run without metrics of the stage after")
    assert run.lines is not None
    for stage in STAGES:
        with suppress(FileNotFoundError):
            require_regular(path / "evaluations" / stage / "generations.jsonl", LARGEST_TABLE)
    return run


def _record_of(path: Path) -> Path:
    again = path / RESCORED
    return again if again.exists() else path / SUMMARY


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"a mapping was expected, found {str(value)[:40]!r}")
    return value
