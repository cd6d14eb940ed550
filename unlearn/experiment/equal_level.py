"""Runs measured where they keep equally much: an evaluation beside each, made once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from unlearn.errors import ConfigurationError, first_line
from unlearn.experiment.finished import Finished, read_finished
from unlearn.experiment.rescoring import rescore
from unlearn.record.layout import RESCORED, record_in
from unlearn.storage.weights import hash_weights

log = logging.getLogger(__name__)

Say = Callable[[str], None]


def at_equal_level(
    runs: Sequence[Path], level: float, config_dir: Path | None, trusted: bool, say: Say
) -> list[Path]:
    """Return the folder of each run's evaluation at the level; `say` tells what is left out.

    One that is there already, of the same models, is taken as it is, so that a command that was
    cut goes on where it was. Raises ConfigurationError where none can be had.
    """
    found = []
    for run in runs:
        try:
            found.append(_evaluated(run, level, config_dir, trusted))
        except ConfigurationError as error:
            say(f"{run}: left out: {first_line(error)}")
    if not found:
        raise ConfigurationError("--at-retain: of none of these runs could a model be mixed")
    return found


def mixed_in_words(place: Path) -> str:
    """Return in one line how the model of such an evaluation was mixed."""
    mixed = record_in(place / RESCORED)["mixed"]
    share, kept = mixed["share"], mixed["kept"]
    how = "as it is" if share == 1 else f"{share:.3g} of the way from the target"
    return f"{place}: {how}, keeps {100 * kept:.4g} % of retain/probability"


def _evaluated(run: Path, level: float, config_dir: Path | None, trusted: bool) -> Path:
    finished = read_finished(run)
    if not (run / "model").is_dir():
        raise ConfigurationError("it has no model/ to mix")
    name = f"at-retain-{level:g}"
    place = run / "evaluations" / name
    if place.exists():
        _require_same(finished, place)
        log.info("%s is there already", place)
        return place
    return rescore(finished, [], name, config_dir, trusted, level)[0]


def _require_same(run: Finished, place: Path) -> None:
    """Raise ConfigurationError where an evaluation is not of the run's models."""
    known = record_in(place / RESCORED) or {}
    hashes = known.get("provenance") or {}
    same = (
        hashes.get("model_sha256") == hash_weights(run.folder / "model")
        and hashes.get("target_sha256") == run.summary["provenance"]["target_sha256"]
    )
    if not (same and known.get("mixed")):
        raise ConfigurationError(f"{place} is of another model; remove that folder")
