"""Hidden states of one model put in the place of another's (activation patching)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.answers import layers_of, reading


@torch.no_grad()
def states_of_layers(model: LanguageModel, batch: Batch) -> list[Tensor]:
    """Return what each layer makes of the positions that predict answers, (N, hidden) each."""
    inputs, place = reading(model, batch)
    states: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        states.append((output[0] if isinstance(output, tuple) else output)[place])

    handles = [layer.register_forward_hook(keep) for layer in layers_of(model)]
    try:
        model.base_model(**inputs, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return states


@contextmanager
def patched(model: LanguageModel, layer: nn.Module, batch: Batch, states: Tensor) -> Iterator[None]:
    """Let a layer of the model give `states` (N, hidden) at the positions that predict answers."""
    _, place = reading(model, batch)

    def put(_module: Any, _inputs: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[place] = states.to(hidden.dtype)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = layer.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()
