"""On how many of a CPU's cores a small model is computed.

The operations of a small model are too small to be shared out: a step of the embedded one (0.9M
weights, 8 + 8 rows) took two threads 145 ms and one thread 90 ms. What can use a second core is
the second task: 55 ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_allowed: list[int] = []


@contextmanager
def threads_for(small: bool) -> Iterator[None]:
    """Compute on one thread where the model is small, on as many as torch has elsewhere."""
    _allowed.append(torch.get_num_threads())
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(_allowed.pop())


def idle_cores() -> int:
    """Return how many more threads this process may compute on than it does."""
    return _allowed[-1] - torch.get_num_threads() if _allowed else 0
