"""The processes that torchrun started for one run: who they are, and what they tell each other.

One process is the ordinary case: there is no group then, and every function gives back what it was
given. torch is imported where it is needed, since `--help` asks this module who it is.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from unlearn.console.signals import asked, obey, obeyed
from unlearn.errors import UnlearnError, first_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")
Made = TypeVar("Made")

PATIENCE = timedelta(days=30)
"""How long a process waits for the others: rank 0 may wait for days for the model that another run
teaches. One that ends takes its connections with it, which the others notice at once."""
LOST = re.compile(
    r"gloo|nccl|Connection (closed|reset)|Broken pipe|DistStore|socket", re.IGNORECASE
)
"""What the errors of a collective say whose other end is gone."""


class ProcessLost(UnlearnError):
    """Another process of the run has ended."""


def started() -> int:
    """Return how many processes torchrun started, from the environment alone."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def rank() -> int:
    """Return the number of this process, 0 where it is alone."""
    return int(os.environ.get("RANK") or 0) if started() > 1 else 0


def local_rank() -> int:
    """Return the number of this process on its machine: the GPU that it takes."""
    return int(os.environ.get("LOCAL_RANK") or 0) if started() > 1 else 0


def is_main() -> bool:
    """Return whether this process owns record, tracker, cache, output and terminal."""
    return rank() == 0


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes for the length of a run."""
    if started() == 1:
        yield
        return
    import torch
    from torch import distributed

    both = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with noticing():
        distributed.init_process_group(both, timeout=PATIENCE)
        yield
        # Not where the run failed: there nobody may be left to meet.
        gathered(None)
    distributed.destroy_process_group()


def world() -> int:
    """Return how many processes share this run; 1 before they met."""
    if started() == 1:
        return 1
    from torch import distributed

    return distributed.get_world_size() if distributed.is_initialized() else 1


@contextmanager
def noticing() -> Iterator[None]:
    """Raise ProcessLost in place of what a collective raises when its other end is gone."""
    try:
        yield
    except RuntimeError as error:
        if started() == 1 or not LOST.search(f"{type(error).__name__}: {error}"):
            raise
        raise ProcessLost(
            "another process of this run has ended "
            f"({said_elsewhere() or 'without a word: was it killed?'})"
        ) from error


def of_rank_zero(make: Callable[[], T]) -> T:
    """Return what `make` gives on rank 0, which alone calls it; the others wait for it."""
    return led(lambda make: make(), make, everywhere=False)


def led(find: Callable[[Callable[[], Made]], T], make: Callable[[], Made], everywhere: bool) -> T:
    """Return what `find` gives on rank 0, on every process.

    `find` looks it up, or calls what it is given to `make` it. With `everywhere` the other
    processes make it along with rank 0 whenever that one does, as a sharded model needs.
    """
    if world() == 1:
        return find(make)

    def made() -> Made:
        if everywhere:
            _broadcast(("make", None))
        return make()

    if is_main():
        found = find(made)
        _broadcast(("found", found))
        return found
    while True:
        word, found = _broadcast(None)
        if word == "found":
            return found
        make()


def _broadcast(value: Any) -> Any:
    from torch import distributed

    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def gathered(value: T) -> list[T]:
    """Return what every process has, in the order of the ranks."""
    if world() == 1:
        return [value]
    from torch import distributed

    found: list[Any] = [None] * world()
    distributed.all_gather_object(found, value)
    return found


def total(*numbers: int) -> list[int]:
    """Return the sums of whole numbers over all processes."""
    if world() == 1:
        return list(numbers)
    import torch

    return summed(torch.tensor(numbers, dtype=torch.int64)).tolist()


def summed(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, which all find the same."""
    if world() > 1:
        from torch import distributed

        tensor = tensor.clone()
        distributed.all_reduce(tensor)
    return tensor


BUCKET = 2**24
"""Elements that are summed at a time: 64 MiB in float32."""


def sum_(gradient: list[Tensor | None], like: Sequence[torch.nn.Parameter]) -> list[Tensor | None]:
    """Return a gradient summed over all processes, in place where it was.

    A process without rows has none of its own. What is None everywhere stays None.
    """
    if world() == 1:
        return gradient
    import torch

    there = total(*(int(part is not None) for part in gradient))
    kept = [
        torch.zeros_like(parameter) if part is None else part
        for part, parameter, somewhere in zip(gradient, like, there, strict=True)
        if somewhere
    ]
    for bucket in _buckets(kept):
        flat = summed(torch.cat([part.reshape(-1) for part in bucket]))
        parts = flat.split([part.numel() for part in bucket])
        for part, piece in zip(bucket, parts, strict=True):
            part.copy_(piece.view_as(part))
    left = iter(kept)
    return [next(left) if somewhere else None for somewhere in there]


def _buckets(parts: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for part in parts:
        if bucket and (part.dtype != bucket[0].dtype or _size(bucket) + part.numel() > BUCKET):
            yield bucket
            bucket = []
        bucket.append(part)
    if bucket:
        yield bucket


def _size(parts: list[Tensor]) -> int:
    return sum(part.numel() for part in parts)


@contextmanager
def obeyed_together() -> Iterator[None]:
    """Obey a signal here and now, which all processes do if one of them was told to end.

    Of several it is obeyed here alone, and not within: one that stopped on its way would leave the
    others waiting for it.
    """
    if world() == 1:
        with obeyed():
            yield
        return
    if any(total(int(asked() is not None))):
        obey(signal.SIGTERM)
    yield


SAID, WORD = "unlearn/said", "unlearn/word"


def may_say(message: str, wait: float = 1.0) -> bool:
    """Return whether this process is the first to say why the run ends; it then leaves its word.

    Rank 0 is waited for, whose messages reach the terminal as ever. The store is torchrun's, which
    outlives the processes.
    """
    if started() == 1:
        return True
    if not is_main():
        time.sleep(wait)
    store = _store()
    if store is None:
        return is_main()
    try:
        first = store.add(SAID, 1) == 1
        if first:
            store.set(WORD, message)
    except Exception:  # torchrun is gone, and with it whoever could speak for us
        return is_main()
    return first


def said_elsewhere() -> str | None:
    """Return why another process ended, where it left word."""
    store = _store()
    with suppress(Exception):
        if store is not None and store.check([WORD]):
            return first_line(store.get(WORD).decode())
    return None


def _store() -> Any:
    """Return torchrun's store, also before the processes met; None where it does not answer."""
    with suppress(Exception):
        return _store_at(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    return None


@cache
def _store_at(host: str, port: int) -> Any:
    from torch.distributed import TCPStore

    return TCPStore(host, port, is_master=False, timeout=timedelta(seconds=10))
