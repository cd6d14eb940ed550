"""A folder is one process's at a time, from before the first file in it until the last."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.console.visible import say
from unlearn.errors import ConfigurationError
from unlearn.storage.cache import lock_of

if TYPE_CHECKING:
    from filelock import FileLock

_claims: dict[Path, FileLock] = {}
"""What this process holds."""


def claim(folder: Path, wait: bool = False, option: str = "hydra.run.dir") -> None:
    """Hold the folder for this process alone; `wait` for another one that has it, or refuse.

    A process that is killed lets go at once, and one that has it already may ask again. The lock
    lies in the cache, by the folder's name: the run folder holds results only. Raises
    ConfigurationError.
    """
    from filelock import FileLock, Timeout  # not for `--help`

    place = folder.resolve()
    if place in _claims:
        return
    name = hashlib.sha256(str(place).encode()).hexdigest()[:24]
    lock = FileLock(lock_of("runs", name))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise ConfigurationError(
                f"{option}: another process is running in {str(folder)!r}; wait for it, or "
                "give a folder of its own"
            ) from None
        # Not into the log, which is the other process's as yet.
        say(f"unlearn: another process still runs in {str(folder)!r}; waiting for it", sys.stderr)
        lock.acquire()
    _claims[place] = lock


def release(folder: Path) -> None:
    """Let go of a folder, if this process has it."""
    if lock := _claims.pop(folder.resolve(), None):
        lock.release()


def release_all() -> None:
    """Let go of every folder, at the end of a command."""
    while _claims:
        _claims.popitem()[1].release()


@contextmanager
def claimed(folder: Path, wait: bool, option: str = "hydra.run.dir") -> Iterator[None]:
    """Hold the folder as :func:`claim` does until the end of what is inside."""
    claim(folder, wait, option)
    try:
        yield
    finally:
        release(folder)
