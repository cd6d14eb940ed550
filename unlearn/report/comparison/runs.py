"""Finding runs below some folders, and reading what a comparison needs of each.

What `unlearn-evaluate` left of a run, RUN/evaluations/NAME with its record.json, counts as a run
where that folder itself is named: below a run nothing is looked for.

A job that ended before it could leave a record (a wrong option, a kill) is a run as well: Hydra's
record of what it was told and the last error of its log are there.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearn.errors import ConfigurationError, first_line, shortened
from unlearn.record.layout import (
    HYDRA,
    RESCORED,
    STAGES,
    SUMMARY,
    RunFolder,
    read_answers,
    read_run,
    read_sound,
)
from unlearn.record.resuming import other_options
from unlearn.record.stamp import require_files

UNCOMPARED = ("seed=", "hydra", "tracker", "+experiment=", "experiment=")
"""Overrides that tell nothing about a result, or that only the group of seeds differs in."""
LONGEST = 2_000
"""Letters of a sentence on a run; whoever wants to know more looks into its log."""
DEEPEST = 40
"""Folders within each other that are searched for runs."""
SEED = re.compile(r"seed=[0-9]{1,18}")
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
        return _named_by_text({k: v for k, v in self.config.items() if k not in OF_THE_RUN})

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
        told = next((o[5:] for o in self.overrides if SEED.fullmatch(o)), 0)
        return int(self.summary.get("seed", told))

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
                f"RUNS: no such folder: {shortened(argument)}; give folders of runs or of sweeps, "
                "or a pattern in quotation marks such as 'runs/*/*-sweep'"
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
            if any(os.path.exists(place / name) for name in own):
                yield place  # and nothing below: checkpoints and models hold no runs
                continue
            try:
                below += [p for p in place.iterdir() if p.is_dir() and not p.is_symlink()]
            except FileNotFoundError:
                continue  # renamed or removed since, by a run that writes
            except OSError:
                yield place  # it may hold runs, and cannot be read: told of there
        level = below


def _order(run: Path) -> list[Any]:
    """Sort `10-…` behind `9-…`; text and numbers alternate, so that they never meet."""
    number, _, rest = run.name.partition("-")
    return [str(run.parent), int(number) if number.isdigit() else -1, rest, run.name]


def read_runs(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Read run folders; returns the runs, and a sentence on each that cannot be read."""
    runs, problems = [], []
    for path in paths:
        try:
            runs.append(_read(path))
        except (OSError, ValueError) as error:
            told = f"{_record_of(path)} cannot be read and is left out: {first_line(error)}"
            problems.append(told[:LONGEST])
    return runs, problems


def _read(path: Path) -> Run:
    """Read one run with all that is shown of it, so that whatever is wrong is told of here.

    Lines and answers are not kept: those of many runs are more than the memory holds.
    """
    record = read_sound(path).summary
    run = Run(path, record, _why_not_completed(path, record))
    if told := other_options(run):
        raise ValueError(told)
    assert run.compared is not None and run.overrides is not None
    if run.error is not None:
        return run
    if not record["metrics"].get("after"):
        raise ValueError("a completed run without metrics of the stage after")
    assert read_run(path, record).lines is not None
    for stage in STAGES:
        read_answers(path, stage)
    require_files(path, record)
    return run


def _why_not_completed(path: Path, record: Mapping[str, Any]) -> str | None:
    if not record:
        os.listdir(path)  # raises where nothing can be known of the folder
        return read_run(path, record).last_error()[:LONGEST]
    if record["status"] == "completed":
        return None
    return first_line(record.get("error") or record["status"])[:LONGEST]


def _record_of(path: Path) -> Path:
    again = path / RESCORED
    return again if os.path.exists(again) else path / SUMMARY


def _named_by_text(config: Any) -> Any:
    """Return a configuration whose names are all text, so that they can be sorted."""
    if isinstance(config, Mapping):
        return {str(key): _named_by_text(value) for key, value in config.items()}
    return [_named_by_text(one) for one in config] if isinstance(config, list) else config
