"""Where a step would wait for a GPU, found on a CPU: by what reads numbers of the device's tensors.

The device's tensors are the model's, those of a batch that was moved there, and all that is
computed of them; what has left is of the host again.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unlearn.data.batches import Batch

READING = (Tensor.cpu, Tensor.tolist, Tensor.numpy, Tensor.__array__)
"""What copies a tensor to the host; on a CPU none of it is seen below Python."""
COUNTING = {torch.ops.aten.nonzero, torch.ops.aten.masked_select, torch.ops.aten.equal}
BY_INDEX = {torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_}
BY_INDEX |= {torch.ops.aten._index_put_impl_, torch.ops.aten._unsafe_index_put}


class Waits(TorchDispatchMode):
    """Counts what reads the device's tensors, by its name and the file that asked for it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self._kept: dict[int, Any] = {}
        for tensor in (*model.parameters(), *model.buffers()):
            self.put(tensor)

    def put(self, tensor: Tensor) -> None:
        """Take a tensor for one of the device."""
        storage = tensor.untyped_storage()
        self._kept[storage._cdata] = storage  # which keeps its address from being another's

    def has(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._kept

    def note(self, what: str) -> None:
        frames = [f for f in traceback.extract_stack() if "/torch/" not in f.filename]
        frames = [f for f in frames if not f.filename.endswith("waits.py")]
        self.found[f"{what} in {frames[-1].filename.rpartition('/')[2]}"] += 1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        of_device = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        of_device = [one for one in of_device if self.has(one)]
        name = func.overloadpacket
        if of_device:
            by_mask = name in BY_INDEX and any(
                isinstance(one, Tensor) and one.dtype is torch.bool for one in args[1]
            )
            if name is torch.ops.aten._local_scalar_dense or name in COUNTING or by_mask:
                self.note(name.__name__)
        result = func(*args, **(kwargs or {}))
        if of_device:
            for one in tree_leaves(result):
                if isinstance(one, Tensor):
                    self.put(one)
        return result


class Leaving(TorchFunctionMode):
    """Notes what leaves by a call of Python's; what has left is of the host."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        leaves = func in READING and self.waits.has(args[0])
        if leaves:
            self.waits.note(func.__name__)
            with torch._C._DisableTorchDispatch():
                args = (args[0].detach().clone(), *args[1:])
        return func(*args, **(kwargs or {}))


@contextmanager
def counted_waits(model: Any) -> Iterator[Counter[str]]:
    """Count the waits of what is done within."""
    waits = Waits(model)

    def moved(batch: Batch, _device: object) -> Batch:
        named = {field.name: getattr(batch, field.name) for field in fields(batch)}
        tensors = {name: one.clone() for name, one in named.items() if isinstance(one, Tensor)}
        for tensor in tensors.values():
            waits.put(tensor)
        return replace(batch, **tensors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batch, "to", moved)
        with Leaving(waits), waits:
            yield waits.found
