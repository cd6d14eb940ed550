"""A whole model on a device that has no room for it: linear layers' weights come one at a time.

QLoRA trains on devices that the model does not fit in its own precision. What is measured whole all
the same (a given target and the reference before, the merged model after) then has its layers'
weights in the CPU's memory, from where each is copied for its product: the same numbers, and every
pass takes the time of the bus. What trains or changes weights is not for such a model.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unlearn.compute.model import LanguageModel
from unlearn.console.once import say_once
from unlearn.models.four_bits import is_transposed, linear_layers

log = logging.getLogger(__name__)

SPARE = 0.8
"""Share of what is free on a device that weights may fill; the rest is for activations."""


def lacks_room(missing: int, device: torch.device) -> bool:
    """Return whether so many bytes of weights would leave too little of a GPU."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return missing > SPARE * (free + kept)


def moved_(model: LanguageModel, device: torch.device) -> LanguageModel:
    """Move a model to a device, but its linear layers' weights where there is no room for all."""
    if not lacks_room(_bytes(model.parameters()), device):
        return model.to(device)
    stay = [layer for _, _, layer in linear_layers(model)]
    weights = [layer.weight for layer in stay]
    for layer in stay:
        layer.weight = None
    model.to(device)
    for layer, weight in zip(stay, weights, strict=True):
        layer.weight = weight
        stream_(layer)
    return model


def stream_(layer: Any) -> None:
    """Let the weight of a linear layer wait on the CPU and come for each product."""
    weight = layer.weight.detach().to("cpu")
    if torch.cuda.is_available():
        weight = weight.pin_memory()  # copied while the device computes
    layer.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    layer.forward = partial(_forward, layer)
    say_once(
        log,
        "the device has no room for the whole model: while it is measured, its layers' weights "
        "come from the CPU's memory, each for its product, which takes longer",
    )


def _forward(layer: Any, x: Tensor) -> Tensor:
    weight = layer.weight.to(x.device, non_blocking=True)
    return nn.functional.linear(x, weight.T if is_transposed(layer) else weight, layer.bias)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
