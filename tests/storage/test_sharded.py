"""A state in parts is the one that was saved, whoever reads it; and whole, or the one before."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.ranks import in_ranks
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageWriter

from unlearn.compute.processes import joined, noticing, rank
from unlearn.compute.sharding import is_sharded, put_, room_for, whole
from unlearn.errors import UnlearnError
from unlearn.models.load import ready
from unlearn.options.schema import ModelConfig, Sharding
from unlearn.storage import sharded as storage
from unlearn.storage.files import NotWritten
from unlearn.storage.sealed import damage_of
from unlearn.storage.sharded import is_in_parts, read_state, read_weights, save_in_parts

ODD = {
    "a row for one of two": torch.arange(3.0)[None],
    "two and one": torch.arange(12, dtype=torch.int64).view(3, 2, 2),
    "halves of bits": torch.arange(10.0, dtype=torch.bfloat16),
    "of the size of a weight": torch.randn(64, 32, generator=torch.Generator().manual_seed(0)),
}
PLAIN = {"step": 3, "lr": 0.1, "reason": None, 7: [True, torch.ones(2)]}
SMALL = 10_000
"""Bytes a file, so that there are many."""
KILLED = 9


def model(kind: Sharding = Sharding.none, seed: int = 0) -> Any:
    """GPT-2, whose first and last layer are one tensor."""
    return ready(tiny.model("gpt2", seed), ModelConfig(), tiny.COMPUTE.shared(kind))


def state_like(weights: Any) -> dict[str, Any]:
    """A state whose tensors are sharded as these weights are."""
    odd: dict[str, Tensor] = {}
    for name, value in ODD.items():
        odd[name], other = (room_for(value.shape, value.dtype, weights) for _ in range(2))
        put_(other, value)
        put_(odd[name], other)
    return {**PLAIN, "moments": [odd, None]}


def same(state: dict[str, Any], sharded: bool) -> bool:
    """Whether a state is that of :func:`state_like`, and as it should be sharded."""
    odd, nothing = state["moments"]
    listed = state[7]
    return (
        (state["step"], state["lr"], state["reason"], nothing) == (3, 0.1, None, None)
        and listed[0] is True
        and torch.equal(listed[1], torch.ones(2))
        and odd.keys() == ODD.keys()
        and all(is_sharded(odd[name]) == sharded for name in ODD)
        and all(torch.equal(whole(odd[name]), ODD[name]) for name in ODD)
        and all(odd[name].dtype == ODD[name].dtype for name in ODD)
    )


def weigh(folder: Path, into: Any) -> bool:
    """Whether a model with other weights gets those that were saved, bit by bit."""
    read_weights(folder, into)
    pairs = zip(model().state_dict().values(), into.state_dict().values(), strict=True)
    return all(torch.equal(one, whole(other)) for one, other in pairs)


def _together(folder: Path) -> None:
    """Save, read, fail and be killed, as one of two processes; raises where anything is wrong."""
    kept = folder / "kept"
    with joined():
        sharded = model(Sharding.fsdp)
        storage.FILE_BYTES = SMALL
        save_in_parts(kept, sharded, state_like(sharded), lambda place: (place / "more").touch())
        assert weigh(kept, model(Sharding.fsdp, seed=1))
        assert weigh(kept, model(Sharding.ddp, seed=1))
        assert same(read_state(kept, sharded), sharded=True)
        assert same(read_state(kept), sharded=False)

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def killed(*_: Any) -> None:
            os._exit(KILLED)

        other, write = model(Sharding.fsdp, seed=2), HuggingFaceStorageWriter.write_data
        if rank() == 1:
            HuggingFaceStorageWriter.write_data = full  # type: ignore[method-assign]
        with pytest.raises(NotWritten if rank() == 0 else OSError):
            save_in_parts(kept, other, {"other": True})
        HuggingFaceStorageWriter.write_data = write  # type: ignore[method-assign]
        assert same(read_state(kept, sharded), sharded=True)
        if rank() == 1:
            HuggingFaceStorageWriter.write_data = killed  # type: ignore[method-assign]
        with noticing():
            save_in_parts(kept, other, {"other": True})


def test_parts_are_read_by_as_many_and_by_one_and_are_whole_or_the_ones_before(
    tmp_path: Path,
) -> None:
    assert in_ranks(2, _together, tmp_path) == [1, KILLED]
    kept = tmp_path / "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert damage_of(kept) is None
    assert (kept / "more").is_file()
    files = sorted((kept / "shards").iterdir())
    assert len(files) > 4
    assert max(path.stat().st_size for path in files) < 3 * SMALL
    assert is_in_parts(kept)
    assert weigh(kept, model(seed=1))
    assert same(read_state(kept), sharded=False)
    with pytest.raises(UnlearnError, match="belong to another model"):
        read_weights(kept, tiny.model("llama"))
    files[0].write_bytes(files[0].read_bytes()[:-1] + b"x")
    assert damage_of(kept) == f"its shards/{files[0].name} is not as it was written"
