"""Activations that wait in the CPU's memory between the two passes, and nothing else changed."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks

from unlearn.compute.model import LanguageModel


class Offloaded(saved_tensors_hooks):
    """torch's `save_on_cpu` for a forward pass of `model`, whose weights stay where they lie.

    Autograd saves the weights of every linear layer, too; torch's own would copy them there and
    back at each pass.
    """

    def __init__(self, model: LanguageModel) -> None:
        there = save_on_cpu(pin_memory=model.device.type == "cuda")
        weights = {weight.untyped_storage()._cdata for weight in model.parameters()}

        def pack(tensor: Tensor) -> Any:
            if tensor.untyped_storage()._cdata in weights:
                return tensor
            return there.pack_hook(tensor)

        def unpack(kept: Any) -> Tensor:
            tensor: Tensor = kept if isinstance(kept, Tensor) else there.unpack_hook(kept)
            return tensor

        super().__init__(pack, unpack)
