"""Defaults of our own for the launchers of sweeps, which Hydra's plugins bring.

`hydra/launcher=joblib` (extra `sweep`): the jobs side by side on this machine, one worker a GPU, or
one for every OMP_NUM_THREADS cores; each worker holds a whole run in memory.
`hydra/launcher=submitit_slurm` (extra `slurm`): the jobs as tasks of a SLURM job array.
`hydra/sweeper=optuna` (extra `sweep`) keeps the plugin's defaults; see conf/experiment/search.yaml.

Each option is the plugin's own, `hydra.launcher.n_jobs=2`; docs/sweeps.md explains them. A YAML of
the same name in conf/ would do as well, but for a warning of Hydra's at every start.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf


class Preset(NamedTuple):
    """Where a plugin keeps the options of a launcher, and what we choose for them."""

    module: str
    schema: str
    chosen: dict[str, Any]


PRESETS = {
    "joblib": Preset(
        "hydra_plugins.hydra_joblib_launcher.config",
        "JobLibLauncherConf",
        {
            "n_jobs": "${worker_count:}",
            # A job is handed out alone and when a worker is free: they are long, and unequal.
            "pre_dispatch": "n_jobs",
            "batch_size": "1",
        },
    ),
    "submitit_slurm": Preset(
        "hydra_plugins.hydra_submitit_launcher.config",
        "SlurmQueueConf",
        {
            "timeout_min": 720,  # wall-clock limit of a job
            "gpus_per_node": 1,  # a run is one process on one device; 0: CPU nodes
            "cpus_per_task": 8,
            "mem_gb": 64,  # main memory
            "array_parallelism": 16,  # jobs that may run at a time
            "setup": ["export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK OMP_WAIT_POLICY=PASSIVE"],
        },
    ),
}

EXTRAS = {
    "hydra/launcher=joblib": "sweep",
    "hydra/sweeper=optuna": "sweep",
    "hydra/launcher=submitit_slurm": "slurm",
    "hydra/launcher=submitit_local": "slurm",
}
"""The extra that brings a choice."""


def register_launchers() -> None:
    """Put our defaults in the place of the plugins' own, where a plugin is installed.

    Hydra looks for plugins once a process, at the first use, and each stores its defaults then: it
    has to have happened, or they would come to lie over ours.
    """
    Plugins.instance()
    for name, (module, schema, chosen) in PRESETS.items():
        try:
            plugin = importlib.import_module(module)
        except ImportError:  # the choice is unknown then, and its message names the extra
            continue
        node = OmegaConf.merge(OmegaConf.structured(getattr(plugin, schema)), chosen)
        ConfigStore.instance().store(group="hydra/launcher", name=name, node=node)
