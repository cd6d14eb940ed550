"""A model that processes share is read once: by rank 0, from which each gets its part.

The others build one of the same shape whose weights nobody has written: the system gives no memory
for what was never touched, and `shard_` keeps a part and fills it.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import gathered, is_main, of_rank_zero
from unlearn.models.load import load_weights
from unlearn.options.schema import ModelConfig


def load_once(
    config: ModelConfig, path: str, compute: Compute, field: str = "model.path"
) -> LanguageModel:
    """Return the model at `path` as `load_weights` does.

    Of one that is to be sharded only rank 0 has the weights; every process is to call it.
    """
    if not compute.sharded:
        return load_weights(config, path, field)
    model = load_weights(config, path, field) if is_main() else None
    kind, shape, generation = of_rank_zero(lambda: _described(cast(LanguageModel, model)))
    if model is None:
        model = _blank(kind, shape)
        model.generation_config = generation
    shapes = _shapes(cast(nn.Module, model))
    told = of_rank_zero(lambda: shapes)
    if not all(gathered(shapes == told)) and not is_main():
        return load_weights(config, path, field)  # what its files say is more than its shape
    return model


def _described(model: LanguageModel) -> tuple[type[Any], Any, Any]:
    return type(model), model.config, model.generation_config


def _blank(kind: type[Any], shape: Any) -> Any:
    """Return a model whose weights are whatever the memory holds; its buffers are as they begin."""
    from transformers.initialization import no_init_weights

    with torch.random.fork_rng(devices=[]), no_init_weights():
        model = kind._from_config(shape)
    model.tie_weights()
    return model


def _shapes(model: nn.Module) -> list[tuple[str, tuple[int, ...], torch.dtype]]:
    """Return names, shapes and precision of all that :func:`shard_` fills."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return [(name, tuple(tensor.shape), tensor.dtype) for name, tensor in named]
