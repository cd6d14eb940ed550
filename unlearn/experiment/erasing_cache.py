"""What of the cache quotes or knows the rows of runs: erased, each entry under its lock.

Only entries that this project makes and can make again are touched: tables, and prepared models.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from unlearn.models.prepared import learnt_rows, row_marks
from unlearn.record.layout import read_lines
from unlearn.storage.cache import cache_root

PATIENCE = 10
"""Seconds to wait for a process that uses an entry."""


@dataclass
class Told:
    """What was erased, and what only a person can erase; one line each."""

    erased: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def erase_evaluations(quoted: Set[tuple[str, str]], told: Told) -> None:
    """Erase the tables, and what models were asked for, of which a line has one of these questions
    with its true answer."""

    def quotes(folder: Path) -> bool:
        lines = read_lines(folder / "generations.jsonl")
        return any((line.get("question"), line.get("truth")) in quoted for line in lines)

    for folder in (*_folders("evaluations"), *_folders("alternatives")):
        try:
            if quoted and quotes(folder):
                _erase(folder, "tables with answers to these rows", told, quotes)
        except (OSError, ValueError) as error:
            told.left.append(f"{folder}: cannot be read ({error})")


def prepared_entry(path: str) -> Path | None:
    """Return the prepared model of the cache that a path names; None for any other folder."""
    place, room = Path(path).expanduser(), cache_root() / "prepared"
    inside = place.parent.resolve() == room.resolve() and not place.is_symlink()
    return place if inside and place.is_dir() else None


def erase_prepared(path: str, what: str, told: Told) -> None:
    """Erase a prepared model, which knows its rows, with what was left of its making."""
    entry = prepared_entry(path)
    if entry is not None:
        _erase(entry, f"{what}; a run that needs it makes it again", told)


def name_other_models(lines: Iterable[Mapping[str, Any]], told: Told) -> None:
    """Name the prepared models of other runs that have learnt a row to forget."""
    marks = set(row_marks((str(line.get("question")), str(line.get("truth"))) for line in lines))
    for folder in _folders("prepared"):
        if known := len(marks & (learnt_rows(folder) or set())):
            told.left.append(f"{folder}: has learnt {known} of the forget rows, for other runs")


def _folders(kind: str) -> list[Path]:
    """Return the entries of a kind, those that a killed process left half-written included."""
    room = cache_root() / kind
    found = sorted(room.iterdir()) if room.is_dir() else []
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def _erase(
    folder: Path, what: str, told: Told, still: Callable[[Path], bool] = lambda _: True
) -> None:
    """Erase an entry and what lies beside it under its name, unless another process uses it.

    `still`: whether it is to go, asked once more under the lock.
    """
    name = folder.name.removeprefix(".").removesuffix(".unfinished")
    try:
        with FileLock(folder.parent / f"{name}.lock", timeout=PATIENCE):
            if not folder.is_dir() or not still(folder):
                return
            shutil.rmtree(folder)
            for beside in (
                f".{name}.unfinished",
                f"{name}.learning",
                f".{name}.learning.unfinished",
            ):
                shutil.rmtree(folder.with_name(beside), ignore_errors=True)
    except Timeout:
        told.left.append(f"{folder}: another process uses it; call again when that has ended")
    else:
        told.erased.append(f"{folder}: {what}")
