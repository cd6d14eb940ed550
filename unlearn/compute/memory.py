"""When the memory is not enough: batches become smaller where that is a matter of speed alone."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from unlearn.errors import UnlearnError, first_line, lacks_memory

log = logging.getLogger(__name__)

ROW = (
    "lower model.max_length or evaluation.max_new_tokens, leave the longest rows out, or compute "
    "in half the memory: model.autocast=bfloat16, model.dtype=bfloat16"
)
"""What helps where a single row does not fit."""


class OutOfMemory(UnlearnError):
    """Memory that is not enough; the message names the options that need less of it."""


def in_short(error: BaseException) -> str:
    """Return how much was asked for in vain, without the advice that torch appends."""
    line = first_line(error)
    for beginning in ("DefaultCPUAllocator: ", "CUDA out of memory. "):
        line = line.rpartition(beginning)[2]
    return line.split(". ")[0].removesuffix(".")


def free_memory() -> None:
    """Give back what nothing holds any more, to the device as well."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def less_memory(group: str, rows: int) -> str:
    """Return what a training takes less memory with; `rows` of `group` go through it at a time."""
    fewer = f"lower {group}.micro_batch_size (now {rows}; it changes no result), or " * (rows > 1)
    return (
        f"{fewer}set model.gradient_checkpointing=true and model.autocast=bfloat16 "
        "where they are not, lower model.max_length, or take a smaller model"
    )


@contextmanager
def explaining_memory(what: str, way_out: str) -> Iterator[None]:
    """Raise OutOfMemory, one line with the way out, where the memory ends within."""
    try:
        yield
    except Exception as error:
        if not lacks_memory(error):
            raise
        raise OutOfMemory(f"{what}: out of memory ({in_short(error)}); {way_out}") from error


class Budget:
    """Padded tokens of a batch: as asked for, and half of what did not fit, again and again.

    Only for work in which a row's result does not depend on the rows beside it.
    """

    def __init__(self, title: str, tokens: int | None = None) -> None:
        """`tokens`: what is asked for; None leaves it to whoever makes the batches."""
        self.title, self.tokens = title, tokens
        self._rows = self._held = 0
        self._lowered = False

    def trying(self, rows: int, tokens: int) -> None:
        """Note how many rows, of how many padded tokens together, are computed next."""
        self._rows, self._held = rows, tokens

    def fits(self) -> None:
        """Note that they were computed; say so where larger batches were not."""
        if self._lowered:
            log.warning(
                "%s: out of memory; goes on with at most %d padded tokens a batch, with the same "
                "results",
                self.title,
                self.tokens,
            )
            self._lowered = False

    def spend(self, attempt: Callable[[], None]) -> None:
        """Call `attempt`, and again with half the tokens whenever the memory ends.

        It tells what it is :meth:`trying`, makes its next batches within `tokens`, keeps what is
        done, and goes on behind it. Raises OutOfMemory where a row by itself does not fit.
        """
        while True:
            try:
                return attempt()
            except Exception as error:
                if not lacks_memory(error):
                    raise
                said = in_short(error)
                if self._rows <= 1:
                    raise OutOfMemory(
                        f"{self.title}: out of memory ({said}) with a single row of {self._held} "
                        f"tokens; {ROW}"
                    ) from error
            # Out here nothing holds the frames of the failure, and with them its tensors.
            self.tokens, self._lowered = self._held // 2, True
            free_memory()
