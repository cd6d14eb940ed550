"""Weights of which every process holds a part: torch's `fully_shard`, and what is done by hand.

A sharded weight is a DTensor, cut along its first dimension. What works element by element takes
the part of this process (:func:`local`); what needs a whole tensor gathers it (:func:`whole`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import is_main, rank, world
from unlearn.options.schema import Sharding

SPARE = 0.8
"""Share of a GPU that may be so filled; the rest is for activations."""


def resolve_sharding(
    wanted: Sharding, processes: int, device: torch.device, held: Callable[[], float | None]
) -> tuple[Sharding, str]:
    """Return how the processes share the model, and why; `held`: bytes of a step but activations,
    None where nobody knows."""
    if processes == 1:
        return Sharding.none, "there is one process"
    if wanted is not Sharding.auto:
        return wanted, f"training.sharding={wanted.value}"
    if device.type != "cuda":
        return Sharding.ddp, f"each of {processes} processes has room for the model"
    needs, room = held(), torch.cuda.get_device_properties(device).total_memory
    if needs is None or needs <= SPARE * room:
        return Sharding.ddp, f"each of {processes} GPUs has room for the model"
    return Sharding.fsdp, f"{needs / 1e9:.0f} GB do not fit a GPU of {room / 1e9:.0f} GB"


def shard_(model: LanguageModel, layers: Iterable[nn.Module], device: torch.device) -> None:
    """Spread the weights of rank 0's model over all processes, layer by layer, its buffers to each.

    Those of the others have its shape; what they hold is not read.
    """
    from torch.distributed import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(device.type, (world(),))
    module: Any = model
    # Not the parameters, which move to the device on their way.
    first = {name: tensor.detach() for name, tensor in _tensors(module)} if is_main() else {}
    for part in (*layers, module):
        # Of the root, too, nothing stays gathered after a pass: an automatic rate moves the parts,
        # and the next pass would compute with what was gathered before.
        fully_shard(part, mesh=mesh, reshard_after_forward=True)
    for part in module.modules():
        if isinstance(part, FSDPModule):
            # Gradients are sums over the rows of all processes, and divided by their count already.
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)  # gloo knows no product beside the sum
    fill_(_tensors(module), first)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


@torch.no_grad()
def fill_(tensors: Iterable[tuple[str, Tensor]], first: Mapping[str, Tensor]) -> None:
    """Write what rank 0 alone has, whole, into tensors that may be sharded, one after the other."""
    from torch.distributed import broadcast

    for name, tensor in tensors:
        device, shape = local(tensor).device, tensor.shape
        found = first[name].to(device) if is_main() else None
        value = torch.empty(shape, dtype=tensor.dtype, device=device) if found is None else found
        value = value.contiguous()
        broadcast(value, src=0)
        put_(tensor, value)


class Weights(Protocol):
    """What has weights: a model, or an adapter in one."""

    def parameters(self) -> Iterator[Parameter]: ...

    def state_dict(self, *, keep_vars: bool = False) -> Mapping[str, Any]: ...


def is_sharded(tensor: Tensor) -> bool:
    """Return whether each process holds a part of a tensor: a DTensor, whose import takes long."""
    return hasattr(tensor, "to_local")


def is_sharded_model(model: Weights) -> bool:
    """Return whether each process holds a part of every weight."""
    return world() > 1 and any(is_sharded(parameter) for parameter in model.parameters())


def local(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process holds, in the memory where it lies."""
    return cast(Any, tensor).to_local() if is_sharded(tensor) else tensor


@torch.no_grad()
def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with all its parts; every process is to ask for it."""
    return cast(Any, tensor.detach()).full_tensor() if is_sharded(tensor) else tensor


@torch.no_grad()
def put_(tensor: Tensor, value: Tensor) -> None:
    """Write a tensor that is whole, or sharded as the other one, into one that may be sharded."""
    if is_sharded(tensor) and not is_sharded(value):
        value = part_of(value)
    local(tensor).copy_(local(value))


def room_for(shape: Sequence[int], dtype: torch.dtype, like: Weights | None = None) -> Tensor:
    """Return an empty tensor, on the CPU, or sharded and placed as the weights `like` are."""
    weight: Any = None if like is None else next(iter(like.parameters()))
    if weight is None or not is_sharded(weight):
        return torch.empty(*shape, dtype=dtype)
    from torch.distributed import tensor

    mesh, placements = weight.device_mesh, weight.placements
    return tensor.empty(*shape, dtype=dtype, device_mesh=mesh, placements=placements)


def part_of(value: Tensor) -> Tensor:
    """Return the part of a whole tensor that this process holds where it is sharded."""
    parts = value.chunk(world())
    return parts[rank()] if rank() < len(parts) else value[:0]


def _on_main(tensor: Tensor) -> Tensor | None:
    """Return a sharded tensor whole, on the CPU of rank 0: a machine has room for one of them."""
    found = whole(tensor)
    return found.cpu() if is_main() else None


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer the state of one whose weights were whole, or sharded as its own are."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(is_sharded(parameter) for parameter in parameters):
        optimizer.load_state_dict(state)
        return
    from torch.distributed.tensor import DTensor

    def cut(value: Any, parameter: Any) -> Any:
        if not isinstance(value, Tensor) or value.shape != parameter.shape or not value.dim():
            return value
        if is_sharded(value):
            return value
        part = part_of(value).to(parameter.device).clone()
        mesh, placements = parameter.device_mesh, parameter.placements
        return DTensor.from_local(
            part, mesh, placements, shape=parameter.shape, stride=parameter.stride()
        )

    each = {
        number: {key: cut(value, parameters[number]) for key, value in kept.items()}
        for number, kept in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": each})


def state_of(model: Weights) -> dict[str, Tensor]:
    """Return the state of a model with every tensor whole; tied weights stay one tensor.

    That of a sharded model lies on the CPU of rank 0, and every process is to ask for it; the
    others get nothing.
    """
    found: dict[int, Tensor] = {}
    state = model.state_dict(keep_vars=True)
    for value in state.values():
        if is_sharded(value) and id(value) not in found:
            gathered = _on_main(value)
            found[id(value)] = value if gathered is None else Parameter(gathered, False)
    if found and not is_main():
        return {}
    return {name: found.get(id(value), value) for name, value in state.items()}
