"""What Hydra is told: the schemas and the resolvers."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from unlearn.composition.help import config_groups
from unlearn.composition.launchers import register_launchers
from unlearn.composition.own_model import choose_neutral_preset, model_name
from unlearn.compute.processes import is_main
from unlearn.compute.workers import worker_count
from unlearn.options.schema import SCHEMAS, Config
from unlearn.storage.cache import cached_or


def record_subdir(_root_: Any) -> str | None:
    """Return where Hydra writes its record of a run, or None where it is not to write one.

    None on all processes but the first, and in a folder whose run goes on. Raises
    ConfigurationError where the folder is another run's: a line later Hydra would write over that
    run's configuration.
    """
    from unlearn.options.parts import plain_container
    from unlearn.record.layout import Progress, progress_of
    from unlearn.record.resuming import finished_run

    folder = OmegaConf.select(_root_, "hydra.runtime.output_dir", throw_on_missing=False)
    if folder is not None and is_main() and Path(folder).exists():
        composed = OmegaConf.masked_copy(_root_, [key for key in _root_ if key != "hydra"])
        finished_run(Path(folder), plain_container(composed))
        if progress_of(Path(folder)) in (Progress.begun, Progress.complete):
            return None
    return ".hydra" if is_main() else None


def run_log(_root_: Any) -> str:
    """Return the log of a run whose folder this process holds from now on.

    Asked of every job, also of a sweep, before its first file is opened. Raises ConfigurationError
    where the folder is not the run's own, or another process runs in it; a job of a sweep waits
    for that one.
    """
    from unlearn.composition.job import sweep_name
    from unlearn.composition.place import require_place
    from unlearn.record.claim import claim
    from unlearn.record.layout import LOG

    folder = OmegaConf.select(_root_, "hydra.runtime.output_dir", throw_on_missing=False)
    if folder is None:  # `--cfg hydra --resolve`: no run
        return LOG
    claim(Path(folder), wait=sweep_name() is not None)
    require_place(Path(folder), _root_)
    return str(Path(folder, LOG))


def start() -> str:
    """Return day and time, by which folders are named; once a command, as Hydra's `now`."""
    return datetime.now().strftime("%Y-%m-%d/%H-%M-%S")


def run_name(_root_: Any) -> str:
    """Return method-data-model by their chosen names; `custom` where a group was deleted."""
    method, data, model = (
        OmegaConf.select(_root_, f"hydra.runtime.choices.{group}")
        for group in ("method", "data", "model")
    )
    path = OmegaConf.select(_root_, "model.path")
    names = [method or "custom", data or "custom", model_name(model, path)]
    return "-".join(str(name).replace("/", "_") for name in names)


@cache
def _store_schemas() -> None:
    """Put the schemas and our defaults of launchers into Hydra's store, once a process.

    The schemas live in a group of their own: as choices of their groups they would be swept over.
    """
    # Hydra copies its config sources, and with them the whole store, for every group it looks into:
    # 167 times and two thirds of the time of `--help`. The store is a singleton that hands out
    # copies of what it holds, so the copy of a source can share it.
    ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]
    store = ConfigStore.instance()
    store.store(group="schema", name="config", node=Config)
    for group, schema in SCHEMAS.items():
        node = OmegaConf.structured(schema)
        for free in ("chat_options", "published_reference"):  # names are a template's, a reader's
            if free in node:
                OmegaConf.set_struct(node[free], False)
        store.store(group=f"schema/{group}", name="base", node=node)
    register_launchers()


def register() -> None:
    """Tell Hydra the schemas and the resolvers; safe to call more than once."""
    _store_schemas()
    choose_neutral_preset()
    OmegaConf.register_new_resolver("config_groups", config_groups, replace=True)
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("run_log", run_log, replace=True)
    OmegaConf.register_new_resolver("start", start, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("record_subdir", record_subdir, replace=True)
    OmegaConf.register_new_resolver("unlearn_cache", cached_or, replace=True)
    OmegaConf.register_new_resolver("worker_count", worker_count, replace=True)
