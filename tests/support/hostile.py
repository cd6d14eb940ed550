"""A run folder as a colleague sends it, and what an attacker puts into it."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from support.command import clean_hydra
from support.fabricate import fabricate
from unlearn.composition.register import register

TOKEN = "hf_this_is_nobodys_token_0123456789"
"""What HF_TOKEN holds while the tests run: it may stand nowhere afterwards."""
MODULE = "hostile_module"
"""Touches the marker when it is imported, and holds a reader, a measure and a weighting."""

Change = Callable[[Path, Path], Any]
"""Changes a run folder; the second path is a folder of the attacker's outside of it."""


def whole_record(folder: Path) -> Path:
    """A complete run with Hydra's record of it, made without any model."""
    fabricate(folder, steps=4)
    told = ["data=minitofu", "tracker=none", "reference=none"]
    register()
    with clean_hydra(), initialize_config_module("unlearn.conf", version_base="1.3"):
        cfg = compose("config", overrides=told)
    (folder / ".hydra" / "config.yaml").write_text(OmegaConf.to_yaml(cfg), encoding="utf-8")
    write(folder, "overrides.yaml", told)
    write(folder, "hydra.yaml", {"hydra": {"runtime": {"cwd": "/", "config_sources": []}}})
    return folder


def write(run: Path, name: str, value: Any) -> None:
    """Write a file of Hydra's record."""
    (run / ".hydra" / name).write_text(yaml.safe_dump(value), encoding="utf-8")


def lay_out(outside: Path, marker: Path) -> None:
    """Put into a folder: a module, a pickle, a preset and a script that all touch the marker."""
    outside.mkdir()
    touch = f"import pathlib; pathlib.Path({str(marker)!r}).touch()"
    (outside / f"{MODULE}.py").write_text(f"{touch}\ndef looks(model, tokenizer): return {{}}\n")

    class Touches:
        def __reduce__(self) -> tuple[Any, ...]:
            return exec, (touch,)

    (outside / "train.pkl").write_bytes(pickle.dumps(Touches(), protocol=2))
    (outside / "data").mkdir()
    (outside / "data" / "minitofu.yaml").write_text(f"_target_: {MODULE}.Reader\n")
    (outside / "evil.yaml").write_text(f"_target_: {MODULE}.Reader\n")


def set_in(place: str, value: Any) -> Change:
    """Set an option of the recorded configuration; WHERE in its texts is the attacker's folder."""

    def change(run: Path, outside: Path) -> None:
        file = run / ".hydra" / "config.yaml"
        config = yaml.safe_load(file.read_text())
        node = config
        *parents, last = place.split(".")
        for parent in parents:
            if not isinstance(node.get(parent), dict):
                node[parent] = {}
            node = node[parent]
        node[last] = json.loads(json.dumps(value).replace("WHERE", str(outside)))
        write(run, "config.yaml", config)

    return change


def told(*words: Any) -> Change:
    """Add to what the run was told."""

    def change(run: Path, outside: Path) -> None:
        recorded = yaml.safe_load((run / ".hydra" / "overrides.yaml").read_text())
        added = json.loads(json.dumps(words).replace("WHERE", str(outside)))
        write(run, "overrides.yaml", [*recorded, *added])

    return change


def text_in(name: str, text: str) -> Change:
    """Replace a file of the run by a text."""
    return lambda run, outside: (run / name).write_text(text.replace("WHERE", str(outside)))


def pipe_at(name: str) -> Change:
    """Replace a file of the run by a pipe that nobody writes to."""

    def change(run: Path, outside: Path) -> None:
        (run / name).unlink()
        os.mkfifo(run / name)

    return change


def sparse(name: str, size: int) -> Change:
    """Make a file of the run enormous, without a byte on the disk."""
    return lambda run, outside: os.truncate(run / name, size)


def measure(node: dict[str, Any]) -> Change:
    """Record a measure."""
    return set_in("evaluation.kpis", {"mine": node})


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
"""9^29 values."""
DEEP = 20_000
