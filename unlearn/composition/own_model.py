"""A model that is named by its path alone: its preset is the neutral one, its name the folder's."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from unlearn.composition.by_memory import words_by_memory

NEUTRAL, EMBEDDED = "custom", "tiny"
"""The preset for any checkpoint, and that of the embedded model, whose numbers would ruin one."""


def model_name(choice: str | None, path: str | None) -> str:
    """Return what a model is called: its preset, or without one of its own its folder."""
    if path is None or choice not in (None, NEUTRAL):
        return choice or NEUTRAL
    folder = os.path.basename(os.path.abspath(os.path.expanduser(path)))
    return re.sub(r"[^\w.-]+", "_", folder) or NEUTRAL


def without_preset(cfg: DictConfig, overrides: Sequence[str]) -> bool:
    """Return whether a model is named by path, and nobody chose the embedded model's preset."""
    if OmegaConf.select(cfg, "hydra.runtime.choices.model") != EMBEDDED:
        return False
    if any(re.match(r"[+~]*model(@[^=]*)?(=|$)", override) for override in overrides):
        return False
    model = OmegaConf.to_container(cfg.model, resolve=False)
    return isinstance(model, dict) and model.get("path") is not None


def choose_neutral_preset() -> None:
    """Let Hydra compose with `model=custom` wherever a path comes without a preset, and with the
    recipe that fits where a preset says how large its model is.

    Only a composed configuration knows what experiment, command and sweep say of it together, so
    it is looked at, and composed again where needed. The jobs of a sweep are, each by itself.
    """
    composed = ConfigLoaderImpl.load_configuration
    if getattr(composed, "chooses_neutral_preset", False):
        return

    def load_configuration(
        self: ConfigLoaderImpl,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        **options: Any,
    ) -> DictConfig:
        cfg = composed(self, config_name, overrides, run_mode, **options)
        if run_mode is not RunMode.RUN:
            return cfg
        neutral = [f"model={NEUTRAL}"] if without_preset(cfg, overrides) else []
        words = neutral or words_by_memory(cfg, overrides)
        return (
            composed(self, config_name, [*overrides, *words], run_mode, **options) if words else cfg
        )

    load_configuration.chooses_neutral_preset = True  # type: ignore[attr-defined]
    ConfigLoaderImpl.load_configuration = load_configuration  # type: ignore[assignment,method-assign]
