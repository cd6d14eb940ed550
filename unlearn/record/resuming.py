"""What a run folder holds before a run begins in it: nothing, a run to go on with, or its end.

The same command with the same `hydra.run.dir` (or `hydra.sweep.dir`) goes on where it was cut. What
would give other results, other options or other data, is refused with the difference named.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from unlearn.errors import ConfigurationError, first_line
from unlearn.options.interpolated import masked
from unlearn.options.parts import plain_container
from unlearn.record import shapes
from unlearn.record.layout import (
    BEGUN,
    HYDRA,
    SUMMARY,
    Progress,
    RunFolder,
    at_its_place,
    progress_of,
    read_run,
)
from unlearn.record.limits import json_in, text_of
from unlearn.record.ownership import remove_unfinished, taken
from unlearn.record.provenance import config_hash
from unlearn.record.shapes import require
from unlearn.record.stamp import require_files, require_stamp
from unlearn.storage.files import plain, write_json_atomic

FORMAT = 4
"""Of what a cut run goes on from; raised whenever checkpoints hold something else."""
FREE = (
    "tracker.",
    "objective.",
    "training.checkpoint_",
    "training.keep_checkpoints",
    "training.conclude",
    "training.sharding",
    "accept.strict",
)
"""Options that change no number but by its rounding, and may differ when a run goes on."""


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
            _refuse_others(folder, _options_of(run), config)
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


def _options_of(run: RunFolder) -> dict[str, Any]:
    """Return the options that a complete run was made with, as it wrote them itself.

    Those of its beginning are known by the hash of its end; else those that Hydra recorded, where
    they are the run's. Raises ConfigurationError where neither is there.
    """
    with suppress(ConfigurationError):
        if (run.path / BEGUN).exists():
            options = _begun(run.path)["config"]
            if config_hash(options) == run.provenance.get("config_sha256"):
                return options
    if not run.config or (other := other_options(run)):
        told = f"a run with other options ({other})" if run.config else "a run with other options"
        raise ConfigurationError(taken(run.path, told))
    return plain_container(OmegaConf.create(masked(run.config)))


def other_options(run: RunFolder) -> str | None:
    """Say in what Hydra's record names another run than the summary does; None where in nothing.

    What a run's options are is its summary's word: `.hydra` may have been written over since.
    """
    recorded, seed = run.provenance.get("options_sha256"), run.config.get("seed")
    file = HYDRA / "config.yaml"
    if not run.config or not run.summary:
        return None
    if isinstance(seed, int) and seed != run.summary.get("seed", seed):
        return f"{file} names seed {seed}, {SUMMARY} {run.summary['seed']}"
    if recorded is not None and recorded != options_hash(run.config):
        return f"{file} names other options than those of {SUMMARY} (options_sha256)"
    return None


def options_hash(config: Mapping[str, Any]) -> str:
    """Return the hash of a composed configuration, unresolved, but for what changes no number."""
    leaves = leaves_of(at_its_place(config))
    return config_hash({n: v for n, v in leaves.items() if not f"{n}.".startswith(FREE)})


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
