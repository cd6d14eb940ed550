"""A finished run as it lies on disk: its configuration, with new overrides, and its models."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unlearn.errors import ConfigurationError
from unlearn.explain import explained
from unlearn.models.load import is_folder_name
from unlearn.models.store import Prepared, hash_weights
from unlearn.settings import Settings

log = logging.getLogger(__name__)

CHANGEABLE = ("evaluation", "accept", "attack", "data", "reference", "model")
"""What may be said otherwise than in the run: what is measured, on what, and where data lie."""
FIXED = ("model", "model.path", "model.tiny", "model.fine_tuning", "model.dtype")
"""Of these, what the run's model was made with."""


@dataclass(frozen=True)
class Finished:
    """A run folder as it was left."""

    folder: Path
    summary: dict[str, Any]
    config: DictConfig
    overrides: list[str]
    config_dirs: list[str]
    """Folders that the run was given by --config-dir."""
    started_in: str


def read_finished(folder: Path) -> Finished:
    """Return the record of a completed run; raises ConfigurationError where it is none."""
    hydra = folder / ".hydra"
    for path in (folder / "summary.json", hydra / "config.yaml", hydra / "overrides.yaml"):
        if not path.is_file():
            missing = path.relative_to(folder)
            raise ConfigurationError(f"{folder}: no {missing}; give the folder of a finished run")
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        status = summary["status"]
        config, overrides = (
            OmegaConf.load(hydra / f"{name}.yaml") for name in ("config", "overrides")
        )
        record = hydra / "hydra.yaml"
        runtime = OmegaConf.load(record).hydra.runtime if record.is_file() else {}
    except (ValueError, KeyError, OSError, OmegaConfBaseException) as error:
        raise ConfigurationError(f"{folder}: its record cannot be read: {error}") from error
    if status != "completed":
        raise ConfigurationError(f"{folder}: the run is {status}; only a completed one has a model")
    assert isinstance(config, DictConfig)
    given = [s.path for s in runtime.get("config_sources", []) if s.provider == "command-line"]
    return Finished(folder, summary, config, list(overrides), given, runtime.get("cwd", ""))


def recompose(run: Finished, overrides: Sequence[str], config_dir: Path | None) -> DictConfig:
    """Return the run's configuration with new overrides.

    Composed from the run's own overrides and the new ones, so that groups can be chosen; then what
    no new override speaks of is set to what the run recorded, as defaults may have changed since.
    """
    touched = check_overrides(overrides)
    folders = [str(config_dir.absolute())] if config_dir else run.config_dirs
    search = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in folders)}]"]
    try:
        with initialize_config_module("unlearn.conf", version_base="1.3"):
            cfg = compose("config", overrides=[*search, *run.overrides, *overrides])
        OmegaConf.set_struct(cfg, False)
        for name, value in run.config.items():
            if name in touched:
                continue
            both = isinstance(value, DictConfig) and isinstance(cfg.get(name), DictConfig)
            cfg[name] = OmegaConf.merge(cfg[name], value) if both else value
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(f"{run.folder}: {explained(error)}") from error
    for part in ("forget", "retain", "weighting"):
        cfg.method[part] = None  # nothing is trained, and a user's own part may be gone
    return cfg


def check_overrides(overrides: Sequence[str]) -> set[str]:
    """Return the first words of the overridden options; raises where one would change nothing."""
    problems, touched = [], set()
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigurationError(explained(error)) from error
    for override in parsed:
        name = override.key_or_group.replace("/", ".")
        first = name.split(".")[0]
        fixed = any(name == f or (f != "model" and name.startswith(f"{f}.")) for f in FIXED)
        if override.is_sweep_override():
            problems.append(f"{override.input_line}: a sweep; give one value a call")
        elif first not in CHANGEABLE or fixed:
            problems.append(
                f"{override.input_line}: the run's model was made without it, and nothing is "
                f"trained here; allowed: {', '.join(CHANGEABLE)} (of model all but "
                f"{', '.join(f.partition('.')[2] for f in FIXED[1:])})"
            )
        touched.add(first)
    if problems:
        raise ConfigurationError(problems)
    return touched


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
    return Prepared(known, sha256, summary["model"][role].get("accuracy"))
