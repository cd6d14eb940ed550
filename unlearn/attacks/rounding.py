"""Weights of linear layers rounded to few bits, and back to floating point at once.

What a low-bit library computes is the product with these very weights, so nothing but the weights
has to change to see what a model says after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from unlearn.compute.model import LanguageModel

GROUP = 32
"""Input columns that share a scale in torchao's narrow integers, where they divide a row."""


def has_torchao() -> bool:
    """Return whether torchao can be imported, without importing it."""
    return find_spec("torchao") is not None


def linear_weights(model: LanguageModel) -> Iterator[Tensor]:
    """Yield the weight (outputs, inputs) of every linear layer but the output layer.

    GPT-2 keeps the transposed matrix in a layer of transformers' own; its transposed view comes.
    """
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    for module in model.modules():
        if module is head:
            continue
        if isinstance(module, nn.Linear):
            yield module.weight.detach()
        elif isinstance(module, Conv1D):
            yield module.weight.detach().T


def round_to_nearest(weight: Tensor, bits: int) -> Tensor:
    """Return q·s, q = round(w/s) of ±(2^(bits−1) − 1), s = max|w| of the output row / that number.

    weight (outputs, inputs). Plain symmetric rounding, one scale a row; a row of zeros stays.
    """
    most = 2 ** (bits - 1) - 1
    scale = weight.abs().amax(dim=1, keepdim=True) / most
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (weight / scale).round().clamp(-most, most) * scale


def by_torchao(weight: Tensor, bits: int) -> Tensor:
    """Return the weight as torchao's integers of `bits` bits hold it: a scale a row at more than 4
    bits, else one a group of :data:`GROUP` columns where they divide the row."""
    from torchao.quantization import IntxWeightOnlyConfig, PerAxis, PerGroup, quantize_

    narrow = bits <= 4 and weight.shape[1] % GROUP == 0
    config = IntxWeightOnlyConfig(
        weight_dtype=getattr(torch, f"int{bits}"),
        granularity=PerGroup(GROUP) if narrow else PerAxis(0),
    )
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias=False, device=weight.device, dtype=weight.dtype)
    layer.weight = nn.Parameter(weight.clone(), requires_grad=False)
    quantize_(nn.Sequential(layer), config)
    rounded: Any = layer.weight
    return rounded.dequantize().to(weight.dtype)
