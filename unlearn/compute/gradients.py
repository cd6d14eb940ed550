"""Two gradients, their Gramian, and their combination.

`loss.backward()` fills `.grad`; the references are stashed and the fields emptied, so no copy is
made: the memory of a step is weights + two gradients + optimizer state, less the one that is
parked. P = number of parameters.
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


def parked(gradient: Gradient) -> Gradient:
    """Return a copy of a gradient in CPU memory, pinned where a GPU is to read it."""

    def moved(part: Tensor) -> Tensor:
        place = torch.empty(part.shape, dtype=part.dtype, pin_memory=part.device.type == "cuda")
        return place.copy_(part, non_blocking=True)

    return [None if part is None else moved(part) for part in gradient]


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
    if first is second and (parts := _on_a_gpu(first)):
        return _squares(parts).sum()
    pairs = zip(first, second, strict=True)
    return _summed([part for a, b in pairs for part in _products(a, b)])


def _on_a_gpu(gradient: Gradient) -> list[Tensor]:
    """Return what this process holds of a gradient, where all of it lies on a GPU; else nothing."""
    parts = [local(part) for part in _there(gradient)]
    return parts if all(part.device.type == "cuda" for part in parts) else []


def _squares(parts: list[Tensor]) -> Tensor:
    """Return the sum of the squares of each tensor (n,), float64, in a few kernels for all.

    On a GPU a kernel for each of some hundred tensors takes as long as the pass of a small batch.
    """
    return torch.stack(torch._foreach_norm(parts, 2, dtype=torch.float32)).double().square()


def _products(first: Tensor | None, second: Tensor | None) -> list[Tensor]:
    """Return float32 scalars that add up to the product of two tensors; none of what is None.

    On a GPU, products of two bfloat16 tensors are rounded as their entries are, before they are
    summed in float32: 1e-7 of both norms for 59 million entries, and five times as fast as float32
    copies (measured on an H100).
    """
    if first is None or second is None:
        return []
    a, b = local(first).reshape(-1), local(second).reshape(-1)
    if a.device.type == "cpu":
        pairs = zip(a.split(CHUNK), b.split(CHUNK), strict=True)
        return [_of_chunk(x.float(), y.float()) for x, y in pairs]
    if first is second:
        return list(_squares([a]))
    if a.dtype is not torch.bfloat16:  # a GPU's dot is a tree already; kernels a chunk cost more
        return [torch.dot(a, b)]
    return [(a * b).sum(dtype=torch.float32)]


def _of_chunk(x: Tensor, y: Tensor) -> Tensor:
    # Not `dot`: its running sum is off by 4e-5 after 2^20 elements; `sum` adds in a tree.
    return (x * y).sum()


def _three_products(
    retain: Tensor | None, forget: Tensor | None
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return retain·retain, retain·forget and forget·forget, as :func:`_products` does each.

    On a CPU both are read once: a chunk is in the cache for all three.
    """
    if retain is None or forget is None or retain.device.type != "cpu":
        return _products(retain, retain), _products(retain, forget), _products(forget, forget)
    r, f = local(retain).reshape(-1), local(forget).reshape(-1)
    found: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for part, other in zip(r.split(CHUNK), f.split(CHUNK), strict=True):
        x, y = part.float(), other.float()
        for products, pair in zip(found, ((x, x), (x, y), (y, y)), strict=True):
            products.append(_of_chunk(*pair))
    return found


def _summed(parts: list[Tensor]) -> Tensor:
    if not parts:
        return torch.zeros((), dtype=torch.float64)
    return torch.stack(parts).sum(dtype=torch.float64)


def gramian(retain: Gradient, forget: Gradient) -> Tensor:
    """Return the Gramian (2, 2) of the two gradients, float64 on the CPU, retain first."""
    return gramian_and(retain, forget, ())[0]


def gramian_and(
    retain: Gradient, forget: Gradient, scalars: Sequence[Tensor]
) -> tuple[Tensor, list[float]]:
    """Return the Gramian (2, 2), float64 on the CPU, retain first, and the values of `scalars`.

    They leave the device together, so that a step waits for it once. One of the gradients may be
    parked: each part of it comes to the other's device once, and goes again.
    """
    numbers = at_once(*_sums(retain, forget), *scalars)
    r_r, r_f, f_f = numbers[:3]
    products = torch.tensor([[r_r, r_f], [r_f, f_f]], dtype=torch.float64)
    return _of_all_parts(products, [*retain, *forget]), numbers[3:]


def _sums(retain: Gradient, forget: Gradient) -> list[Tensor]:
    """Return retain·retain, retain·forget and forget·forget, float64 scalars."""
    if (ours := _on_a_gpu(retain)) and (others := _on_a_gpu(forget)):
        return [_squares(ours).sum(), _inner_product(retain, forget), _squares(others).sum()]
    found: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for r, f in zip(retain, forget, strict=True):
        if r is not None and f is not None:
            r = r.to(f.device, non_blocking=True)
        for so_far, parts in zip(found, _three_products(r, f), strict=True):
            so_far += parts
    return [_summed(parts) for parts in found]


def at_once(*scalars: Tensor) -> list[float]:
    """Return the values of scalars, which leave their device together: each wait stops it."""
    numbers = [scalar.detach().double() for scalar in scalars]
    if len({number.device for number in numbers}) > 1:  # nothing of one task, and the other parked
        numbers = [number.cpu() for number in numbers]
    return torch.stack(numbers).tolist()


@torch.no_grad()
def combine_(
    retain: Gradient,
    forget: Gradient,
    weights: tuple[float, float],
    device: torch.device | None = None,
) -> Gradient:
    """Return w_retain·retain + w_forget·forget, written into the memory of `forget`.

    It lies on `device`, wherever that of the retain task was parked; None: where that lies.
    """
    w_retain, w_forget = weights
    ours, others = _on_a_gpu(retain), _on_a_gpu(forget)
    if ours and len(ours) == len(others) == len(forget):  # in a few kernels for all
        torch._foreach_mul_(others, w_forget)
        torch._foreach_add_(others, ours, alpha=w_retain)
        return forget
    combined: Gradient = []
    for r, f in zip(retain, forget, strict=True):
        if f is None:
            combined.append(None if r is None else r.to(device or r.device) * w_retain)
        elif r is None:
            combined.append(f.mul_(w_forget))
        else:
            combined.append(f.mul_(w_forget).add_(r.to(f.device), alpha=w_retain))
    return combined
