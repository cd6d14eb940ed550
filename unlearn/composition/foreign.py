"""What a run folder may say, whoever made it: it is data, and chooses no code and reads no secret.

A part is ours by the object that its name finds, not by how the name begins. Nothing that a record
names is imported to find that out, but modules of the rooms where our parts live.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from unlearn.attacks import Attack
from unlearn.errors import ConfigurationError
from unlearn.options.interpolated import is_harmless, nodes_of, texts_of
from unlearn.record.layout import read_yaml

CALLING = ("_args_", "_partial_", "_recursive_")
"""Hydra's words for how a `_target_` is called. No part of ours needs one."""

TRUST = "--trust, for a folder that you would run a program from"


def require_data(measured: DictConfig, overrides: Sequence[str], config_dir: Path | None) -> None:
    """Raise ConfigurationError where what a record says of the measuring names code.

    What the new `overrides` or the YAML files in `config_dir` name is the person's own choice.
    """
    said = " ".join(overrides)
    own = set(re.findall(r"_target_['\"]?\s*[:=]\s*['\"]?([\w.]+)", said))
    for file in sorted(config_dir.rglob("*.yaml")) if config_dir else ():
        with suppress(ValueError):  # Hydra says of the file that it reads what is wrong with it
            own |= {str(node.get("_target_")) for _, node in nodes_of(read_yaml(file))}
    container = OmegaConf.to_container(measured, resolve=False)
    problems = code_problems(container, own)
    tasks = (container if isinstance(container, dict) else {}).get("evaluation", {}).get("lm_eval")
    folder = tasks.get("include_path") if isinstance(tasks, dict) else None
    if folder is not None and "include_path" not in said:
        problems.append(  # a task's YAML may name Python beside it
            f"evaluation.lm_eval.include_path: the record names a folder of tasks, "
            f"{str(folder)[:80]!r}, which may hold code and is not read; name it yourself, or give "
            f"{TRUST}"
        )
    if problems:
        raise ConfigurationError(problems)


def code_problems(config: Any, own: Collection[str] = ()) -> list[str]:
    """Return what a configuration names that is no part of ours, nor one of `own`."""
    problems = []
    for place, node in nodes_of(config):
        target = node.get("_target_")
        known = isinstance(target, str) and (target in own or is_our_part(target, place))
        if "_target_" in node and not known:
            problems.append(
                f"{place}._target_: the record names code, {str(target)[:80]!r}, which is no "
                f"part of unlearn and is not run; name it yourself, or give {TRUST}"
            )
        problems += [
            f"{place}.{word}: the record says how code is called, which is not done; give {TRUST}"
            for word in CALLING
            if word in node and not (isinstance(target, str) and target in own)
        ]
    return problems


def is_our_part(name: Any, place: str) -> bool:
    """Return whether `name` is that of a part of ours that may stand at a place of a record.

    That is a reader as `data` and an attack as `attack.NAME`, each by the module that defines it or
    the room that hands it out. Not what a module of ours merely imports, as in
    ``unlearn.data.muse.os.system``, nor a part that would look up a name in its turn, as
    ``unlearn.weightings.TorchJDWeighting`` does.
    """
    room = "data" if place == "data" else "attacks" if place.startswith("attack.") else None
    if room is None or not re.fullmatch(rf"unlearn\.{room}(\.[A-Za-z][A-Za-z0-9_]*)+", str(name)):
        return False
    module, _, last = str(name).rpartition(".")
    try:
        found = vars(importlib.import_module(module)).get(last)
    except ImportError:
        return False
    if not isinstance(found, type) or not found.__module__.startswith(f"unlearn.{room}."):
        return False
    if room == "attacks":
        return issubclass(found, Attack)
    return dataclasses.is_dataclass(found) and callable(getattr(found, "read", None))


def of_record(config: Any) -> None:
    """Raise ConfigurationError for interpolations in a record that could read what is no data."""
    problems = [
        f"{place}: the record asks for {text[:80]!r}, which is not looked up; give the value "
        f"yourself, or give {TRUST}"
        for place, text in texts_of(config)
        if not is_harmless(text)
    ]
    if problems:
        raise ConfigurationError(problems)


def told_in_record(overrides: Sequence[Any]) -> list[str]:
    """Return the overrides of a record that a composition may use; Hydra's own are left out.

    Raises ConfigurationError for those that would look beyond our own groups, or that are none.
    """
    kept: list[str] = []
    problems: list[str] = []
    for word in overrides:
        try:
            parsed = OverridesParser.create().parse_override(word)
        except (HydraException, RecursionError, TypeError, AttributeError):  # or it is no text
            parsed = None
        if parsed is None:
            problems.append(f"the record's override {str(word)[:80]!r} cannot be read")
        elif re.split(r"[./@]", parsed.key_or_group)[0] == "hydra":
            continue  # where Hydra looks for files, and what it starts
        elif not is_harmless(word):
            problems.append(
                f"the record was told {word[:80]!r}, which is not looked up; give {TRUST}"
            )
        elif not _within_our_groups(parsed):
            problems.append(
                f"the record was told {word[:80]!r}, which names a file beyond the groups of "
                f"unlearn; give {TRUST}"
            )
        else:
            kept.append(word)
    if problems:
        raise ConfigurationError(problems)
    return kept


def _within_our_groups(override: Override) -> bool:
    """Return whether a choice of a group stays below the folders that are searched."""
    group = override.key_or_group
    if ".." in group or group.startswith("/"):
        return False
    if "/" not in group and not files("unlearn.conf").joinpath(group).is_dir():
        return True  # an option: its value chooses no file of Hydra's
    value = override.value()
    chosen = value if isinstance(value, list) else [value]
    return all(one is None or re.fullmatch(r"\w[\w-]*(/\w[\w-]*)*", str(one)) for one in chosen)
