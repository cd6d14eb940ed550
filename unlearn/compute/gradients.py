"""Two gradients, their Gramian, and their combination.

`loss.backward()` fills `.grad`; the references are stashed and the fields emptied, so no copy is
made: the memory of a step is weights + two gradients + optimizer state. P = number of parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from unlearn.compute.processes import summed
from unlearn.compute.sharding import is_sharded, local

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
    return _of_all_parts(_inner_product(first, second), first)


def _of_all_parts(products: Tensor, gradient: Gradient) -> Tensor:
    """Return the products (…) of what all processes hold of sharded gradients."""
    return summed(products) if any(map(is_sharded, _there(gradient))) else products


def _there(gradient: Gradient) -> Iterator[Tensor]:
    return (part for part in gradient if part is not None)


def _inner_product(first: Gradient, second: Gradient) -> Tensor:
    """Return first·second of what this process holds of them."""
    parts = []
    for a, b in zip(first, second, strict=True):
        if a is None or b is None:
            continue
        a, b = local(a).reshape(-1).float(), local(b).reshape(-1).float()
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
    cross = _inner_product(retain, forget)
    entries = [_inner_product(retain, retain), cross, cross, _inner_product(forget, forget)]
    products = torch.stack([entry.cpu() for entry in entries]).reshape(2, 2)
    return _of_all_parts(products, [*retain, *forget])


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
