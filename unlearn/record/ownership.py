"""Whether a folder is a run's or a sweep's: nothing is written into one that is neither nor empty.

Told by what the files say and not by their names alone: a project has a `checkpoints/` and a
`model/` as well.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn.errors import ConfigurationError
from unlearn.record.layout import BEGUN, HYDRA, LINES, LOG, SUMMARY, record_in
from unlearn.record.limits import text_of
from unlearn.storage.files import entries_below

SWEEP, OURS = "multirun.yaml", "_target_: unlearn."
"""What Hydra writes at the beginning of a sweep, and what it says in ours alone: parts of ours."""

OF_A_SWEEP = {"comparison.csv", "comparison.html", "pareto.png", "optimization_results.yaml"}
"""What stands beside the jobs of a sweep."""
LOST = "that left no state to go on from"
TEMPORARY = re.compile(r"\.[^/]+\.\d+\.tmp")
"""What `write_text_atomic` calls a file that has not its name yet."""
UNFINISHED = re.compile(r"\.(model|step_\d+|best_\d+)(\.older)?\.unfinished")
"""What `whole_folder` calls those of a run."""
STATES = re.compile(r"(step|best)_\d+|run\.json")
"""What a run keeps in `checkpoints/`."""


def require_free(folder: Path, sweep: bool = False) -> None:
    """Raise ConfigurationError where a run, or a sweep, would write among files that are no run's.

    Free is a folder that is absent or empty, and one that a run or sweep of this program has.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not names or (is_sweep(folder) if sweep else is_run(folder)):
        return
    option = "hydra.sweep.dir" if sweep else "hydra.run.dir"
    if LINES in names and not sweep:
        broken = [n for n in (BEGUN, SUMMARY) if (folder / n).exists() and not _mapping(folder / n)]
        what = f"of which {broken[0]} is broken" if broken else LOST
        raise ConfigurationError(taken(folder, f"a run {what}"))
    strange = sorted(names - {LOG, HYDRA.name}) or sorted(names)
    more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
    raise ConfigurationError(
        f"{option}: {str(folder)!r} holds {strange[0]!r}{more} and is no folder of ours; nothing "
        f"is written there: give a new or empty folder, or leave {option} out for a new one"
    )


def is_run(folder: Path) -> bool:
    """Return whether a folder is that of a run: complete, begun, or refused before it began.

    The last one, or one killed as it began, has left a log, Hydra's record and perhaps a summary,
    and holds nothing else.
    """
    summary = _mapping(folder / SUMMARY)
    if "schema" in summary and summary.get("status") == "completed":
        return True
    if "config" in _mapping(folder / BEGUN):
        return True
    names = {path.name for path in folder.iterdir() if not _half_written(path)}
    ours = SUMMARY not in names or "schema" in summary
    return LOG in names and names <= {LOG, HYDRA.name, SUMMARY} and ours


def is_sweep(folder: Path) -> bool:
    """Return whether a folder is that of a sweep: as Hydra recorded it, or as all in it shows.

    Optuna's sweeper writes no record. A project beside which a run lies is no sweep.
    """
    names = {path.name for path in folder.iterdir()}
    if SWEEP in names:
        try:
            told = text_of(folder / SWEEP)
        except (OSError, ValueError):
            return False
        return OURS in told or (not told and names == {SWEEP})  # killed as Hydra wrote it
    others = [path for path in folder.iterdir() if path.name not in OF_A_SWEEP]
    return bool(others) and all(path.is_dir() and is_run(path) for path in others)


def taken(folder: Path, what: str) -> str:
    """Say that a folder holds another run."""
    return (
        f"hydra.run.dir: {str(folder)!r} already holds a run, {what}; give a folder of its own, or "
        "leave hydra.run.dir out for a new one"
    )


def remove_unfinished(folder: Path) -> None:
    """Remove from a run's folder what a killed process of it left half-written, by our names."""
    kept = folder / "evaluations"
    for older in (folder / BEGUN).parent.glob(".*.older.unfinished"):
        place = older.with_name(older.name[1:].removesuffix(".older.unfinished"))
        if UNFINISHED.fullmatch(older.name) and not place.exists():
            older.rename(place)  # killed between the two names of a state
    for left in [*folder.glob(".*"), *(folder / BEGUN).parent.glob(".*")]:
        if UNFINISHED.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)
    for left in kept.glob(".*.unfinished"):
        shutil.rmtree(left, ignore_errors=True)
    inside = [*folder.glob(".*"), *(folder / BEGUN).parent.glob(".*"), *entries_below(kept)]
    for left in inside:
        if TEMPORARY.fullmatch(left.name) and not left.is_dir():
            left.unlink(missing_ok=True)


def remove_checkpoints(folder: Path) -> None:
    """Remove what a run kept to go on from, and the folder of it where nothing else is there."""
    remove_unfinished(folder)
    place = (folder / BEGUN).parent
    for path in list(place.glob("*")):
        if STATES.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()


def _half_written(path: Path) -> bool:
    """Return whether a process killed as it began may have left it.

    That is a file which has not its name yet, or a `checkpoints/` with no more than that.
    """
    if path.is_dir() and path.name == BEGUN.parent.name:
        return all(map(_half_written, path.iterdir()))
    return bool(TEMPORARY.fullmatch(path.name)) and not path.is_dir()


def _mapping(file: Path) -> Mapping[str, Any]:
    """Return what a record of ours holds; nothing where there is none, or what cannot be one."""
    try:
        found = record_in(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}
