"""The sum of the losses of all answer tokens, each logit made once and forgotten.

As torch's `linear_cross_entropy` (2.13) does, the gradient of a chunk is taken while its logits are
there. That one computes in one precision throughout: in bfloat16 its sum is bfloat16, and on a CPU
its products are float32. Here the output layer computes as the model or an autocast has it, and the
loss in float32. What is held of N tokens with V logits is one chunk, which becomes its own gradient
in place. H is the width of what enters the output layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unlearn.forward.answers import at_least_float32
from unlearn.forward.predicted import rows_at_a_time


@dataclass(frozen=True)
class OutputLayer:
    """An output layer, and how it is asked."""

    weights: Tensor  # (V, H)
    bias: Tensor | None  # (V,)
    dtype: torch.dtype
    """That of its products."""
    tokens: int
    """Those whose logits are made at a time."""


def nll_sum_in_chunks(states: Tensor, layer: OutputLayer, labels: Tensor) -> Tensor:
    """Return Σ_n −log softmax(states_n·Wᵀ + b)[labels_n], () float32 at least.

    `states` (N, H) are what enters the layer, `labels` (N,). The gradient by the logits of a chunk,
    softmax − 1[label] in float32, is taken with its loss, so that it can be asked for once.
    Products and their rounding are those of an autocast, but the gradient by the weights is added
    up over the chunks in their own precision. Raises RuntimeError for a second gradient.
    """
    if not torch.is_grad_enabled():
        return _chunk_by_chunk(states, layer, labels, (False, False, False))[0]
    total: Tensor = _Sum.apply(states, layer.weights, layer.bias, labels, layer)
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weights: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        layer: OutputLayer,
    ) -> Tensor:
        total, found = _chunk_by_chunk(states, layer, labels, ctx.needs_input_grad[:3])
        ctx.found = [
            None if one is None or of is None else one.to(of.dtype)
            for one, of in zip(found, (states, weights, bias), strict=True)
        ]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        found, ctx.found = ctx.found, None
        if found is None:
            raise RuntimeError("the gradient of a sum in chunks is there once")
        return (*(one if one is None else one.mul_(grads[0]) for one in found), None, None)


def _chunk_by_chunk(
    states: Tensor, layer: OutputLayer, labels: Tensor, wanted: Sequence[bool]
) -> tuple[Tensor, tuple[Tensor | None, Tensor | None, Tensor | None]]:
    """Return the sum, and its gradients by states, weights and bias where they are wanted."""
    exact = torch.promote_types(layer.dtype, torch.float32)
    states, weights = states.to(layer.dtype), layer.weights.to(layer.dtype)
    bias = None if layer.bias is None else layer.bias.to(layer.dtype)
    sums: list[Tensor] = []
    by_states: list[Tensor] = []
    by_weights: Tensor | None = None
    by_bias: Tensor | None = None
    room = states.new_empty(min(layer.tokens, len(states)), len(weights))
    with torch.autocast(states.device.type, enabled=False):
        for part, label in zip(states.split(layer.tokens), labels.split(layer.tokens), strict=True):
            logits = torch.mm(part, weights.T, out=room[: len(part)])
            if bias is not None:
                logits += bias
            sums.append(_loss(logits, label, any(wanted)))
            if wanted[0]:
                by_states.append(logits @ weights)
            if wanted[1]:
                by_weights = _with_product(by_weights, logits.T, part, exact)
            if wanted[2]:
                by_bias = _added(by_bias, logits.sum(0, dtype=exact), exact)
    return torch.stack(sums).sum(), (
        torch.cat(by_states) if by_states else None,
        by_weights,
        by_bias,
    )


def _with_product(total: Tensor | None, one: Tensor, two: Tensor, dtype: torch.dtype) -> Tensor:
    """Return total + one·two in `dtype`; where they are of it, no other tensor of that size."""
    if total is not None and one.dtype == dtype:
        return total.addmm_(one, two)
    return _added(total, one @ two, dtype)


def _added(total: Tensor | None, one: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the sum of both in `dtype`; what is added first is taken as it is."""
    return one.to(dtype) if total is None else total.add_(one)


def _loss(logits: Tensor, labels: Tensor, becomes_gradient: bool) -> Tensor:
    """Return the summed loss of logits (n, V), which may become its gradient by them.

    Their exponentials are taken once, where they lie: log Σ_v exp(x_v − max) + max − x[label].
    """
    losses, size = [], rows_at_a_time(logits)
    for part, label in zip(logits.split(size), labels.split(size), strict=True):
        x, right = at_least_float32(part), label[:, None]
        chosen, highest = x.gather(1, right), x.amax(1, keepdim=True)
        p = x.sub_(highest).exp_()
        total = p.sum(1, keepdim=True)
        losses.append((total.log() + highest - chosen).sum())
        if becomes_gradient:
            p.div_(total).scatter_add_(1, right, p.new_full(right.shape, -1))
            if p is not part:
                part.copy_(p)
    return torch.stack(losses).sum()
