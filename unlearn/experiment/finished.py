"""A finished run as it lies on disk: its configuration, with new overrides, and its models."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unlearn.errors import ConfigurationError, first_line
from unlearn.experiment.settings import Settings
from unlearn.models.places import is_folder_name
from unlearn.models.prepared import Prepared
from unlearn.record.layout import HYDRA, SUMMARY, read_overrides, read_sound
from unlearn.record.resuming import other_options
from unlearn.record.shapes import FINISHED, require
from unlearn.storage.sealed import damage_if_sealed
from unlearn.storage.weights import hash_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished:
    """A run folder as it was left."""

    folder: Path
    summary: dict[str, Any]
    config: DictConfig
    overrides: list[str]
    started_in: str


def read_finished(folder: Path) -> Finished:
    """Return the record of a completed run; raises ConfigurationError where it is none."""
    for path in (SUMMARY, HYDRA / "config.yaml", HYDRA / "overrides.yaml"):
        if not (folder / path).is_file():
            raise ConfigurationError(f"{folder}: no {path}; give the folder of a finished run")
    try:
        run = read_sound(folder)
        status = run.summary["status"]
        if status == "completed":
            require(FINISHED, run.summary, SUMMARY)
        runtime = run.runtime
        config = OmegaConf.create(run.config)
        chosen = read_overrides(folder)
        if not isinstance(config, DictConfig):
            raise ValueError("what Hydra recorded is no configuration")
    except (ValueError, OSError, OmegaConfBaseException) as error:
        told = first_line(error)
        raise ConfigurationError(f"{folder}: its record cannot be read: {told}") from error
    if status != "completed":
        raise ConfigurationError(f"{folder}: the run is {status}; only a completed one has a model")
    if other := other_options(run):
        raise ConfigurationError(f"{folder}: {other}; which of them made its model is not known")
    return Finished(folder, dict(run.summary), config, chosen, str(runtime.get("cwd", "")))


@dataclass(frozen=True)
class Models:
    """The models of a run that are still there."""

    after: Prepared
    before: Prepared | None
    reference: Prepared | None
    notes: list[str]
    """What is not there any more."""

    @staticmethod
    def of(run: Finished, cfg: DictConfig, other_reference: bool) -> Models:
        """Find them, and name the reference in `cfg`; a reference is never trained here."""
        notes: list[str] = []
        before = still_there(run.summary, "target", notes)
        if other_reference and cfg.reference in ("auto", "train"):
            raise ConfigurationError(
                f"reference: {cfg.reference}, but nothing is trained here; allowed: none, the path "
                "of a retain-only model, or left out for the run's own"
            )
        if other_reference:
            path = None if cfg.reference == "none" else str(cfg.reference)
            local = path is not None and Path(path).expanduser().is_dir()
            sha256 = hash_weights(Path(path).expanduser()) if path and local else None
            reference = Prepared(path, sha256, None) if path else None
        else:
            reference = still_there(run.summary, "reference", notes)
            cfg.reference = reference.folder if reference else "none"
        if cfg.model.path and is_folder_name(cfg.model.path):
            cfg.model.path = cfg.model.path if Path(cfg.model.path).expanduser().exists() else None
        for note in notes:
            log.warning("%s", note)
        saved = run.folder / "model"
        if saved.is_dir():
            return Models(Prepared(str(saved), hash_weights(saved), None), before, reference, notes)
        if before is None:
            raise ConfigurationError(
                f"{run.folder}: neither its model nor its target is there; nothing can be measured"
            )
        return Models(before, before, reference, notes)

    def require(self, settings: Settings) -> None:
        """Raise ConfigurationError for a condition that is relative to a target that is gone."""
        problems = [
            f"accept.conditions[{number}].of: before, but the target is not there any more (see "
            "above); give a bound without `of`"
            for number, condition in enumerate(settings.conditions)
            if condition.of == "before" and self.before is None
        ]
        if problems:
            raise ConfigurationError(problems)


def still_there(summary: dict[str, Any], role: str, notes: list[str]) -> Prepared | None:
    """Return the run's target or reference if its weights are those of then; else say it is gone.

    A model on the hub counts as there.
    """
    known = (summary["model"].get(role) or {}).get("path")
    if known is None:
        return None
    sha256 = summary["provenance"][f"{role}_sha256"]
    stage = "before" if role == "target" else role
    if sha256 is None:
        return Prepared(known, None, None)
    folder = Path(known).expanduser()
    if not folder.is_dir():
        notes.append(
            f"{stage}: not measured, as the run's {role} is gone ({known}); the run's command "
            "makes it again"
        )
        return None
    if hash_weights(folder) != sha256:
        notes.append(
            f"{stage}: not measured, as {known} no longer holds the weights of the run's {role}"
        )
        return None
    if damage := damage_if_sealed(folder):
        notes.append(f"{stage}: not measured, as {known} is damaged: {damage}")
        return None
    return Prepared(known, sha256, summary["model"][role].get("accuracy"))
