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

PACKAGES = (
    "unlearn",
    "torch",
    "transformers",
    "datasets",
    "hydra-core",
    "torchjd",
    "wandb",
)


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
