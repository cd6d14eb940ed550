"""Two gradients, their Gramian, and their combination.

`loss.backward()` fills `.grad`; the references are stashed and the fields emptied, so no copy is
made: the memory of a step is weights + two gradients + optimizer state. P = number of parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

Gradient = list[Tensor | None]
"""One tensor a parameter; None where the loss does not depend on the parameter."""

CHUNK = 2**16
"""Elements of one float32 product on the CPU: it stays in the cache while it is summed."""


def take_gradient(parameters: Sequence[Parameter]) -> Gradient:
    """Move the gradients out of the parameters."""
    gradient: Gradient = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    return gradient


def copied(gradient: Gradient) -> Gradient:
    """Return the gradient in memory of its own."""
    return [None if part is None else part.clone() for part in gradient]


def inner_product(first: Gradient, second: Gradient) -> Tensor:
    """Return first·second over all parameters, float64 scalar: float32 products, float64 sums."""
    parts = []
    for a, b in zip(first, second, strict=True):
        if a is None or b is None:
            continue
        a, b = a.reshape(-1).float(), b.reshape(-1).float()
        if a.device.type == "cpu":
            # Not `dot`: its running sum is off by 4e-5 after 2^20 elements; `sum` adds in a tree.
            pairs = zip(a.split(CHUNK), b.split(CHUNK), strict=True)
            parts += [(x * y).sum() for x, y in pairs]
        else:  # a GPU's dot is a tree already; there a kernel a chunk would cost more
            parts.append(torch.dot(a, b))
    if not parts:
        return torch.zeros((), dtype=torch.float64)
    return torch.stack(parts).sum(dtype=torch.float64)


def gramian(retain: Gradient, forget: Gradient) -> Tensor:
    """Return the Gramian (2, 2) of the two gradients, float64 on the CPU, retain first."""
    cross = inner_product(retain, forget)
    entries = [inner_product(retain, retain), cross, cross, inner_product(forget, forget)]
    return torch.stack([entry.cpu() for entry in entries]).reshape(2, 2)


@torch.no_grad()
def combine_(retain: Gradient, forget: Gradient, weights: tuple[float, float]) -> Gradient:
    """Return w_retain·retain + w_forget·forget, written into the memory of `forget`."""
    w_retain, w_forget = weights
    combined: Gradient = []
    for r, f in zip(retain, forget, strict=True):
        if f is None:
            combined.append(None if r is None else r * w_retain)
        elif r is None:
            combined.append(f.mul_(w_forget))
        else:
            combined.append(f.mul_(w_forget).add_(r, alpha=w_retain))
    return combined
