"""What a run folder holds before a run begins in it: nothing, a run to go on with, or its end.

The same command with the same `hydra.run.dir` (or `hydra.sweep.dir`) goes on where it was cut. What
would give other results, other options or other data, is refused with the difference named.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from unlearn.errors import ConfigurationError, first_line
from unlearn.options.interpolated import masked
from unlearn.options.parts import plain_container
from unlearn.record import shapes
from unlearn.record.layout import BEGUN, SUMMARY, Progress, progress_of, read_run
from unlearn.record.limits import json_in, text_of
from unlearn.record.ownership import remove_unfinished, taken
from unlearn.record.provenance import config_hash
from unlearn.record.shapes import require
from unlearn.record.stamp import require_files, require_stamp
from unlearn.storage.cache import lock_of
from unlearn.storage.files import plain, write_json_atomic

log = logging.getLogger(__name__)

FORMAT = 4
"""Of what a cut run goes on from; raised whenever checkpoints hold something else."""
FREE = (
    "tracker.",
    "objective.",
    "training.checkpoint_",
    "training.keep_checkpoints",
    "accept.strict",
)
"""Options that change no number, and may differ when a run goes on."""


@contextmanager
def claimed(folder: Path, wait: bool) -> Iterator[None]:
    """Hold the folder for this process alone; `wait` for another one that has it, or refuse.

    A process that is killed lets go at once. The lock lies in the cache, by the folder's name: the
    run folder holds results only. Raises ConfigurationError.
    """
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:24]
    lock = FileLock(lock_of("runs", name))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise ConfigurationError(
                f"hydra.run.dir: another process is running in {str(folder)!r}; wait for it, or "
                "give a folder of its own"
            ) from None
        log.info("another process is still running this job; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def finished_run(folder: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the summary of this very run where the folder holds its end, else None.

    Raises ConfigurationError where the folder is another run's: complete, begun, begun by an
    earlier version, damaged, or one that left lines but no state to go on from.
    """
    progress = progress_of(folder)
    if progress is Progress.complete:
        try:
            run = read_run(folder)
            require_stamp(text_of(folder / SUMMARY), run.summary, SUMMARY)
            require_files(folder, run.summary)
        except (OSError, ValueError) as error:
            what = f"a complete one that is damaged ({first_line(error)})"
            raise ConfigurationError(taken(folder, what)) from error
        if run.provenance.get("config_sha256") != config_hash(config):
            theirs = OmegaConf.create(masked(run.config))
            if not theirs:
                raise ConfigurationError(taken(folder, "a run with other options"))
            _refuse_others(folder, plain_container(theirs), config)
        return dict(run.summary)
    if progress is Progress.begun:
        begun = _begun(folder)
        if begun.get("format") != FORMAT:
            earlier = "begun by another version of unlearn, whose state this one cannot go on from"
            raise ConfigurationError(taken(folder, earlier))
        _refuse_others(folder, begun["config"], config)
    elif progress is Progress.lost:
        raise ConfigurationError(taken(folder, "a run that left no state to go on from"))
    return None


def begin(folder: Path, config: Mapping[str, Any], data_sha256: str) -> bool:
    """Note that this run has begun in the folder; return whether it had before.

    What a killed process left half-written goes, and so does the summary of a failed attempt.
    Raises ConfigurationError where the data are no longer those that the run began with.
    """
    resumed = (folder / BEGUN).exists()
    if resumed and _begun(folder)["data_sha256"] != data_sha256:
        raise ConfigurationError(
            f"data: {str(folder)!r} began with other rows than are read now; put the files back, "
            "or give a new folder"
        )
    remove_unfinished(folder)
    (folder / SUMMARY).unlink(missing_ok=True)
    (folder / BEGUN).parent.mkdir(parents=True, exist_ok=True)
    write_json_atomic(
        folder / BEGUN, {"format": FORMAT, "config": config, "data_sha256": data_sha256}
    )
    return resumed


def _begun(folder: Path) -> dict[str, Any]:
    """Return what a run noted as it began; raises ConfigurationError where nobody can read it."""
    try:
        begun = json_in(text_of(folder / BEGUN), str(BEGUN))
        require(shapes.BEGUN, begun, str(BEGUN))
    except (OSError, ValueError) as error:
        what = f"whose record of its beginning is broken ({first_line(error)})"
        raise ConfigurationError(taken(folder, what)) from error
    return dict(begun)


def _refuse_others(folder: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    one, other = leaves_of(theirs), leaves_of(ours)
    different = [
        f"{name}: {one.get(name, 'not set')} there, {other.get(name, 'not set')} now"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name) and not f"{name}.".startswith(FREE)
    ]
    if different:
        raise ConfigurationError(
            taken(folder, f"a run with other options ({'; '.join(different)})")
        )


def leaves_of(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a configuration by their dotted names, as JSON would give them back."""
    if not isinstance(config, Mapping) or not config:
        return {prefix.removesuffix("."): plain(config)}
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        leaves |= leaves_of(value, f"{prefix}{key}.")
    return leaves
