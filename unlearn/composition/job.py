"""What Hydra says of the job that runs: the sweep that it belongs to, the experiment chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from unlearn.composition.own_model import model_name
from unlearn.options.parts import plain_container


def sweep_name() -> str | None:
    """Return day and time of the sweep that this run is a job of: its folder's last two parts.

    The time alone would put the sweeps of two days into one group.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode is not RunMode.MULTIRUN:
        return None
    return "/".join(Path(HydraConfig.get().sweep.dir).parts[-2:])


def experiment_name() -> list[str]:
    """Return the name of the chosen experiment; nothing where none is."""
    if not HydraConfig.initialized():
        return []
    name = HydraConfig.get().runtime.choices.get("experiment")
    return [name] if name else []


def describe_choices(cfg: DictConfig) -> dict[str, dict[str, Any]]:
    """Return the chosen name and resolved options of method, data, model and scheduler."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    described = {}
    for group in ("method", "data", "model", "scheduler"):
        described[group] = {"name": choices.get(group, "custom"), **plain_container(cfg[group])}
    model = described["model"]
    return {**described, "model": {**model, "name": model_name(model["name"], model["path"])}}
