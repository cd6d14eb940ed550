"""What the server of processes (forked.py) has ready: imported modules, and parsed configurations.

A process that is forked from it imports nothing, and parses no file of conf/ that is parsed here.
"""

from __future__ import annotations

import gc
from importlib import import_module

import omegaconf.omegaconf
import pytest
from hydra import compose, initialize_config_module

from support.command import QUICK_YAML
from support.composed import Composed
from unlearn.composition.register import register

LIBRARIES = (
    "unlearn.commands.run",
    "unlearn.experiment.run",
    "unlearn.report",
    "unlearn.data.minitofu",
    "torch._dynamo",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "tokenizers.trainers",
    "transformers.models.auto.modeling_auto",
    "accelerate",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
)

for library in LIBRARIES:
    import_module(library)
omegaconf.omegaconf.yaml = QUICK_YAML  # type: ignore[attr-defined]
register()
Composed().patch(pytest.MonkeyPatch())
with initialize_config_module("unlearn.conf", version_base="1.3"):
    compose("config", return_hydra_config=True)
gc.collect()
gc.freeze()  # a process that is forked from here copies no page to look through it
