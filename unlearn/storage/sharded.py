"""States of which every process holds a part: each writes its own, any number of them reads it.

Sharded tensors lie in `shards/`, by torch.distributed.checkpoint: safetensors, which run no code,
with the place of every part in its tensor. The rest is in `state.pt`, where a note stands in for
each of them. The folder is sealed like any other: whole or absent, and every file known by hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings

import torch
from torch import Tensor
from torch.nn import Parameter

from unlearn.compute.processes import gathered, is_main, of_rank_zero, rank, world
from unlearn.compute.sharding import Weights, is_sharded, room_for
from unlearn.errors import UnlearnError
from unlearn.storage.sealed import file_sha256, sealed_folder
from unlearn.storage.weights import save_state

STATE, SHARDS = "state.pt", "shards"
WEIGHTS = "weights"
"""What the weights of the model are called in a state in parts."""
PART = "tensor in shards/"
"""The name of a tensor, in the note that stands in for it."""
FILE_BYTES = 2**31
"""Bytes that a process writes into one file: torch has it in memory twice on its way."""


def is_in_parts(folder: Path) -> bool:
    """Return whether a state was written in parts."""
    return (folder / SHARDS).is_dir()


def save_in_parts(
    folder: Path,
    model: Weights,
    state: Mapping[str, Any],
    besides: Callable[[Path], object] | None = None,
) -> None:
    """Write the weights of a sharded model and `state`; `besides` writes more, on rank 0.

    All of it or nothing. Every process is to call it. Raises NotWritten where the disk is full.
    """
    parts: dict[str, Tensor] = {}
    rest = _taken_apart({**state, WEIGHTS: _weights_of(model)}, "", parts)
    known: dict[str, str] = {}
    with sealed_folder(folder, known) if is_main() else nullcontext(folder) as unfinished:
        place = of_rank_zero(lambda: unfinished)
        for hashes in gathered(_save_shards(parts, place)):
            known.update(hashes)
        if is_main():
            save_state(rest, place / STATE)
            if besides is not None:
                besides(place)


def read_state(folder: Path, like: Weights | None = None) -> dict[str, Any]:
    """Return what `state.pt` holds: tensors and plain values, nothing that runs code.

    Of a state in parts each tensor is sharded as the weights of `like` are, and these weights
    themselves are left out (:func:`read_weights`).
    """
    state = _read(folder)
    if not is_in_parts(folder):
        return state
    del state[WEIGHTS]
    parts: dict[str, Tensor] = {}
    found = _put_together(state, like, parts)
    _load_shards(parts, folder)
    return found


def read_weights(folder: Path, model: Weights) -> None:
    """Give a model, however it is sharded, the weights of a state in parts, bit by bit.

    Raises UnlearnError where they are those of another model.
    """
    notes, weights = _read(folder)[WEIGHTS], _weights_of(model)
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    if shapes != {name: tuple(note["shape"]) for name, note in notes.items()}:
        raise UnlearnError("the saved weights belong to another model than the one of this run")
    _load_shards({notes[name][PART]: weight for name, weight in weights.items()}, folder)


def _read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / STATE, weights_only=True, map_location="cpu")
    return found


def _weights_of(model: Weights) -> dict[str, Tensor]:
    """Return the weights by their names, each once, whatever else it is called."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(value, Parameter):
            found.setdefault(id(value), (name, value))
    return dict(found.values())


def _taken_apart(state: Any, name: str, parts: dict[str, Tensor]) -> Any:
    """Return a tree of mappings and lists with a note for each sharded tensor.

    They go into `parts` by their names: the way to them.
    """
    if isinstance(state, Tensor) and is_sharded(state):
        parts[name] = state.detach()
        return {PART: name, "shape": list(state.shape), "dtype": state.dtype}
    if isinstance(state, dict):
        return {key: _taken_apart(value, f"{name}/{key}", parts) for key, value in state.items()}
    if isinstance(state, list):
        return [_taken_apart(value, f"{name}/{n}", parts) for n, value in enumerate(state)]
    return state


def _put_together(state: Any, like: Weights | None, parts: dict[str, Tensor]) -> Any:
    """Return the tree with room for each tensor in place of its note, which `parts` names, too."""
    if isinstance(state, dict):
        if PART in state:
            return parts.setdefault(state[PART], room_for(state["shape"], state["dtype"], like))
        return {key: _put_together(value, like, parts) for key, value in state.items()}
    return [_put_together(v, like, parts) for v in state] if isinstance(state, list) else state


def _save_shards(parts: Mapping[str, Tensor], folder: Path) -> dict[str, str]:
    """Write what this process holds of the tensors; returns the hashes of its files, by name."""
    from torch.distributed import checkpoint

    files, size = {}, FILE_BYTES
    number = 0
    for name, tensor in parts.items():
        held = tensor.numel() * tensor.element_size() // world()
        size += held
        if size > FILE_BYTES:
            number, size = number + 1, held
        files[name] = number
    place = folder / SHARDS
    with _own_error():
        writer = checkpoint.HuggingFaceStorageWriter(
            str(place), fqn_to_index_mapping=files, save_distributed=True
        )
        checkpoint.save(dict(parts), storage_writer=writer)
    own = sorted(place.glob(f"shard-{rank() + 1:05d}-*"))
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in own}


def _load_shards(parts: Mapping[str, Tensor], folder: Path) -> None:
    """Fill tensors, whole or sharded, with what was saved of those of their names."""
    from torch.distributed import checkpoint

    if not parts:
        return
    with _own_error(), catch_warnings(), torch.no_grad():
        filterwarnings("ignore", "torch.distributed is disabled", UserWarning)  # one process
        reader = checkpoint.HuggingFaceStorageReader(str(folder / SHARDS))
        checkpoint.load(dict(parts), storage_reader=reader)


@contextmanager
def _own_error() -> Iterator[None]:
    """Raise what a process failed with, where torch tells all of them of it in an error of its own,
    which is no Exception."""
    from torch.distributed.checkpoint import CheckpointException

    try:
        yield
    except CheckpointException as error:
        first, _ = next(iter(error.failures.values()))
        raise first from error
