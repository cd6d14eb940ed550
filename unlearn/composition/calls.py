"""A run that Python calls: its options as Hydra reads them, and Hydra's record of it.

Nothing of the calling program is changed: neither its logging nor a Hydra of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import run_job
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unlearn.composition.explain import COMPOSING, explained
from unlearn.composition.place import make_new, require_place
from unlearn.composition.quoting import in_quotes
from unlearn.composition.register import register
from unlearn.errors import ConfigurationError
from unlearn.record.claim import claimed
from unlearn.storage.files import plain

Options = Sequence[str] | Mapping[str, Any]
"""Overrides as the command takes them, or values by the options' full names."""


def words_of(options: Options) -> list[str]:
    """Return options as overrides; values of a mapping are written in Hydra's grammar.

    >>> words_of({"data": "files", "data.forget": "my rows.jsonl", "training": {"steps": 4}})
    ['data=files', 'data.forget="my rows.jsonl"', 'training.steps=4']
    """
    if isinstance(options, str):
        raise ConfigurationError(f"{options!r} is one text; give a list of overrides")
    if not isinstance(options, Mapping):
        return [str(word) for word in options]
    words = []
    for name, value in options.items():
        if isinstance(value, Mapping):
            inner = {f"{name}.{key}": one for key, one in value.items()}
            words += words_of(inner) if inner else [f"{name}={{}}"]
        else:
            words.append(f"{name}={_written(value, chooses='.' not in str(name))}")
    return words


def _written(value: Any, chooses: bool = False) -> str:
    """Return a value in Hydra's grammar, in which a text is quoted and a choice is not."""
    value = plain(value)
    if isinstance(value, str):
        if chooses and value.replace("_", "").isalnum() and value.isascii():
            return value
        return in_quotes(value)
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_written(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


def composed(words: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    """Return the configuration that these overrides describe; raises ConfigurationError."""
    with _composing(words, config_dir) as cfg:
        return _of_run(cfg)


def called(
    words: Sequence[str],
    task: Callable[[DictConfig, Path, list[str]], None],
    folder: Path | None = None,
    config_dir: Path | None = None,
) -> Path:
    """Let `task` run in a folder, with Hydra's record of it there; returns the folder.

    `folder`: null for a new one below ``runs/``. Raises what the task raises, and
    ConfigurationError where the overrides cannot be composed or the folder is somebody else's.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read by torch: threads must not spin
    place = [] if folder is None else [f"hydra.run.dir={_written(folder.absolute())}"]
    raised: list[Exception] = []

    def kept(cfg: DictConfig) -> None:
        try:
            task(cfg, Path(run), list(words))
        except Exception as error:  # Hydra would print it, and go on
            raised.append(error)

    with _composing([*words, *place], config_dir) as cfg:
        OmegaConf.set_readonly(cfg.hydra, False)
        cfg.hydra.overrides.task = list(words)
        if folder is None:
            make_new(cfg, "hydra.run.dir")
        run = os.path.abspath(str(OmegaConf.select(cfg, "hydra.run.dir")))
        with claimed(Path(run), wait=False, option="folder"):
            require_place(Path(run), _of_run(cfg))
            context = HydraContext(GlobalHydra.instance().config_loader(), Callbacks())
            try:
                run_job(kept, cfg, "hydra.run.dir", None, context, configure_logging=False)
            except OmegaConfBaseException as error:
                raise ConfigurationError(explained(error)) from error
    if raised and isinstance(raised[0], OmegaConfBaseException):
        raise ConfigurationError(explained(raised[0])) from raised[0]
    if raised:
        raise raised[0]
    return Path(run)


def _of_run(cfg: DictConfig) -> DictConfig:
    """Return the part of a composed configuration that is the run's."""
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


@contextmanager
def _composing(words: Sequence[str], config_dir: Path | None) -> Iterator[DictConfig]:
    """Give the composed configuration, Hydra's part included, while a Hydra of ours is there."""
    register()
    search = [f"hydra.searchpath=[file://{config_dir.absolute()}]"] if config_dir else []
    outer, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with initialize_config_module("unlearn.conf", version_base="1.3"):
            try:
                cfg = compose("config", overrides=[*search, *words], return_hydra_config=True)
            except COMPOSING as error:
                raise ConfigurationError(explained(error)) from error
            yield cfg
    finally:
        GlobalHydra.instance().hydra = outer
