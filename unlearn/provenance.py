"""Where a result comes from: the choices, the versions, the commit, and hashes."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

PACKAGES = (
    "unlearn",
    "torch",
    "transformers",
    "datasets",
    "hydra-core",
    "torchjd",
    "wandb",
    "rouge-score",
)


def describe_choices(cfg: DictConfig) -> dict[str, dict[str, Any]]:
    """Return the chosen name and resolved options of method, data, model and scheduler."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    described = {}
    for group in ("method", "data", "model", "scheduler"):
        described[group] = {"name": choices.get(group, "custom"), **plain_container(cfg[group])}
    return described


def plain_container(node: DictConfig) -> dict[str, Any]:
    """Return the resolved configuration as dictionaries, lists and plain values."""
    container = OmegaConf.to_container(node, resolve=True, enum_to_str=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def provenance(config: dict[str, Any]) -> dict[str, Any]:
    """Return versions, git state, and the hash of the resolved configuration."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "git": git_state(),
        "config_sha256": config_hash(config),
    }


def config_hash(config: Mapping[str, Any]) -> str:
    """Return the hash of a resolved configuration."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


def git_state() -> dict[str, Any] | None:
    """Return the commit of the repository that holds this package, or None outside one."""
    folder = Path(__file__).parent

    def ask(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        if not ask("ls-files", "--", __file__):
            return None
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
