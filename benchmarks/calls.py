"""How much of the model a step runs, counted layer by layer, in units of one forward pass F.

F is the pass of one batch: a layer that runs forward counts 1/depth (twice as much where it reads
the rows of two batches at once), and 2/depth more when a gradient comes back to its output:
a backward pass is two products of the size of the forward one. Counting sees what a clock does not:
a second model, a forward pass that is thrown away, a layer above the one that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

BACKWARD = 2
"""Cost of a backward pass over that of the forward pass."""


@dataclass
class Calls:
    """What ran since the counting began, in units of F."""

    forward: float = 0.0
    backward: float = 0.0

    @property
    def total(self) -> float:
        return self.forward + self.backward


@contextmanager
def counted_calls(rows: int) -> Iterator[Calls]:
    """Count the layers of every model that runs inside, copies included; `rows` are a batch's."""
    calls = Calls()

    def count(module: nn.Module, _inputs: Any, options: Mapping[str, Any], output: Any) -> None:
        depth = getattr(module, "_depth_of_its_model", None)
        if depth is None:
            return
        hidden = output[0] if isinstance(output, tuple) else output
        # Of rows that stand one behind the other, each begins at position 0.
        packed = len(hidden) == 1 and "position_ids" in options
        batches = (int((options["position_ids"] == 0).sum()) if packed else len(hidden)) / rows
        calls.forward += batches / depth
        if isinstance(hidden, Tensor) and hidden.requires_grad and torch.is_grad_enabled():

            def came_back(_gradient: Tensor) -> None:
                calls.backward += BACKWARD * batches / depth

            hidden.register_hook(came_back)

    handle = nn.modules.module.register_module_forward_hook(count, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def mark_layers(model: Any) -> None:
    """Tell every decoder layer the depth of its model; a copy of the model keeps the mark."""
    depth = model.config.num_hidden_layers
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    for layer in stacks[0]:
        layer._depth_of_its_model = depth
