"""The one place that calls the model with an answer to predict.

The output layer sees answer positions only: with a vocabulary of 128k its logits are the largest
tensor of a step, and the prompt's share of them would be thrown away. Likewise an objective on a
hidden layer runs no layer above it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.compute.model import LanguageModel, plain_output
from unlearn.compute.sharding import is_sharded_model
from unlearn.data.batches import Batch
from unlearn.errors import ConfigurationError
from unlearn.forward.output_layer import Positions, output_layer_sees_only
from unlearn.forward.packing import before_packed_answer, is_packed, packed
from unlearn.forward.shared_pass import pass_for


def answer_logits(
    model: LanguageModel, batch: Batch, past: Any | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (N, V) float32, labels (N,), and row number in the batch (N,).

    N = answer tokens of the batch, in row-major order. Position t predicts token t + 1. A model in
    float64 gives logits in float64. `past` is a cache of what stands ahead of every row.
    """
    labels = batch.input_ids[batch.owner, batch.columns]
    one = pass_for(model, batch) if past is None else None
    if one is None:
        return _logits(model, batch, past), labels, batch.owner
    made = one.logits(batch, partial(_logits, model), model.get_output_embeddings())
    return at_least_float32(made), labels, batch.owner


def _logits(model: LanguageModel, batch: Batch, past: Any | None = None) -> Tensor:
    """Return the logits (N, V) at the answers of a batch, in one call of the model."""
    inputs, positions = reading(model, batch, past)
    return at_least_float32(logits_at(model, {**inputs, **behind(past)}, positions))


def logits_at(model: LanguageModel, inputs: Mapping[str, Any], positions: Positions) -> Tensor:
    """Return the logits (N, V) at some positions, in one call of the model and as it gives them."""
    with output_layer_sees_only(model, positions):
        logits: Tensor = model(**inputs, **plain_output(model)).logits[0]
    return logits


def reading(
    model: LanguageModel, batch: Batch, past: Any | None = None
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
    """Return what the model reads of a batch, and rows and columns (N,) that predict the answers.

    Rows stand one behind the other where that leaves out padding and nothing stands ahead of them.
    """
    if past is None and is_packed(model, batch):
        return packed(model, batch), before_packed_answer(batch)
    return inputs_of(batch, past), before_answer(batch)


def inputs_of(batch: Batch, past: Any | None = None) -> dict[str, Tensor]:
    """Return what the model reads of a right-padded batch, behind what is in the cache `past`.

    No attention mask is among it where nothing stands ahead: what a causal model makes of a token
    does not depend on the padding behind it. Without one torch takes the kernel that knows only
    "causal", which needs no (T, T) table: the values are the same to the bit, and gradients but for
    rounding. Only what is read at padding is another, which nobody looks at.
    """
    if past is None:
        return {"input_ids": batch.input_ids}
    mask = F.pad(batch.attention_mask, (past.get_seq_length(), 0), value=1)
    return {"input_ids": batch.input_ids, "attention_mask": mask}


def behind(past: Any | None) -> dict[str, Any]:
    """Return what a call of the model takes besides; not every architecture has a name for None."""
    return {"use_cache": False} if past is None else {"past_key_values": past, "use_cache": True}


def number_of_layers(model: LanguageModel) -> int:
    """Return the depth of the model."""
    return int(model.config.num_hidden_layers)


def hidden_states(model: LanguageModel, batch: Batch, layer: int) -> Tensor:
    """Return what layer `layer`, counted from 1, makes of the answers: (N, hidden) float32.

    The states are those at the positions that *predict* the answer tokens, as in
    :func:`answer_logits`: the last token of the prompt is among them, where a one-word answer is
    decided, and the end token is not, from which nothing follows. Neither the final norm nor the
    output layer has a part in them; no layer above `layer` is run, so its parameters get no
    gradient. Raises ConfigurationError for a model whose layers cannot be found.
    """
    states: list[Tensor] = []
    read, places = reading(model, batch)

    def keep(_module: Any, _inputs: Any, output: Tensor | tuple[Tensor, ...]) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    with first_layers_only(model, layer) as last:
        handle = last.register_forward_hook(keep)
        inputs = {**read, "use_cache": False}
        try:
            if is_sharded_model(model):  # which gathers its weights where it is called itself
                nowhere = places[0][:0], places[1][:0]
                with output_layer_sees_only(model, nowhere):
                    model(**inputs, **plain_output(model))
            else:
                model.base_model(**inputs)
        finally:
            handle.remove()
    return at_least_float32(states[0][places])


@contextmanager
def first_layers_only(model: LanguageModel, layer: int) -> Iterator[nn.Module]:
    """Leave out every layer above `layer` for a while; gives the last one that is left.

    The model goes through whatever list it holds under that name, so a shorter list is a model cut
    short, whose positions and masks are still prepared as the architecture wants them.
    """
    owner, name = _find_layers(model)
    layers = getattr(owner, name)
    setattr(owner, name, nn.ModuleList(layers[:layer]))
    try:
        yield layers[layer - 1]
    finally:
        setattr(owner, name, layers)


def layers_of(model: LanguageModel) -> nn.ModuleList:
    """Return the layers of the model; raises ConfigurationError where they cannot be found."""
    owner, name = _find_layers(model)
    layers: nn.ModuleList = getattr(owner, name)
    return layers


def _find_layers(model: LanguageModel) -> tuple[nn.Module, str]:
    """Return the module that holds the list of the model's layers, and the name of the list."""
    depth = number_of_layers(model)
    # From the outside in: the experts of a layer may be as many as the layers, but lie deeper.
    for owner in model.base_model.modules():
        for name, child in owner.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == depth:
                return owner, name
    raise ConfigurationError(
        f"model: {type(model).__name__} keeps its {depth} layers in no list of modules, so an "
        "objective on a hidden layer (rmu, hidden_state) has nothing to cut, and fsdp nothing to "
        "share out; use another objective, and training.sharding=ddp"
    )


def before_answer(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return rows and columns (N,) of the positions whose next token is one of the answer."""
    return batch.owner, batch.columns - 1


def at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
