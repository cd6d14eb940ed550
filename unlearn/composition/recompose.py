"""A finished run's configuration with new overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from unlearn.composition.explain import COMPOSING, explained
from unlearn.composition.foreign import of_record, require_data, told_in_record
from unlearn.errors import ConfigurationError

CHANGEABLE = ("evaluation", "accept", "attack", "data", "reference", "model")
"""What may be said otherwise than in the run: what is measured, on what, and where data lie."""


FIXED = ("model", "model.path", "model.tiny", "model.fine_tuning", "model.dtype", "model.adapter")
"""Of these, what the run's model was made with."""
OF_TRAINING = ("method", "scheduler", "optimizer", "training", "objective")
"""What only a training reads. It stays as it is by default: nothing is trained, an option may have
gone since the run, and so may a part of the user's own."""


def recompose(
    recorded: DictConfig,
    chosen: Sequence[str],
    overrides: Sequence[str],
    config_dir: Path | None = None,
    trusted: bool = False,
) -> DictConfig:
    """Return the configuration that a run `recorded`, with new overrides.

    Where the record is not `trusted`, it names no code but our parts, and reads no environment.

    Composed from the overrides that were `chosen` for the run and the new ones, so that groups can
    be chosen; then what no new override speaks of is set to what the run recorded, as defaults may
    have changed since.
    """
    touched = check_overrides(overrides)
    measuring = [override for override in chosen if not _of_training(str(override))]
    kept = {
        name: value
        for name, value in recorded.items_ex(resolve=False)
        if name not in touched and name not in OF_TRAINING
    }
    if not trusted:
        measuring = told_in_record(measuring)
        of_record(OmegaConf.to_container(OmegaConf.create(kept), resolve=False))
    search = [f"hydra.searchpath=[file://{config_dir.absolute()}]"] if config_dir else []
    try:
        with initialize_config_module("unlearn.conf", version_base="1.3"):
            cfg = compose("config", overrides=[*search, *measuring, *overrides])
        OmegaConf.set_struct(cfg, False)
        for name, value in kept.items():
            if name not in cfg:
                continue  # no option of this version
            before = cfg._get_node(name)
            both = isinstance(value, DictConfig) and isinstance(before, DictConfig)
            cfg[name] = OmegaConf.merge(before, value) if both else value
    except COMPOSING as error:
        raise ConfigurationError(explained(error)) from error
    if not trusted:
        # What only a training reads is by now that of our own presets.
        measuring_names = [str(name) for name in cfg if name not in OF_TRAINING]
        require_data(OmegaConf.masked_copy(cfg, measuring_names), overrides, config_dir)
    for part in ("forget", "retain", "weighting"):
        cfg.method[part] = None
    return cfg


def _of_training(override: str) -> bool:
    """Return whether an override that a run was given is one that only its training read."""
    name = override.lstrip("+~").partition("=")[0]
    return name.replace("/", ".").split(".")[0] in OF_TRAINING


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
