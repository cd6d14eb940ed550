"""What a pass without gradient predicts of answers, and what is kept of it token by token.

Logits of a large vocabulary are the largest tensors of a pass, and on a CPU most of its memory is
asked of the system anew each time. So they are made some tokens at a time, reduced, and forgotten.

M positions that predict something; N answer tokens, of which several may be predicted at one
position; V entries of the vocabulary; H the model's width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel, vocabulary_of
from unlearn.forward.answers import at_least_float32, logits_at
from unlearn.forward.output_layer import (
    Finish,
    Positions,
    before_output_layer,
    can_be_asked_alone,
    finish_of,
)

PART = 30 << 20
"""Bytes of logits that are made at a time on a CPU; below 32 MiB the allocator keeps them for the
next part. At 49152 entries in bfloat16 (float32) 1500 tokens took .24 s (.74) so, .51 (.76) whole
and cast to float32 whole, half of it the system's."""
MULTIPLE = 32
"""Tokens of a part are a multiple: oneDNN compiles a product in bfloat16 for every other number."""
ELEMENTS, GPU_ELEMENTS = 2**18, 2**24
"""Logits that are reduced at a time. On the CPU a part stays in the cache, which is twice as fast
as larger ones; on a GPU it is 64 MiB at a time, 130 tokens with a vocabulary of 128k."""
BLOCK = 64
"""Entries of which the largest is found first on a CPU."""

Look = Callable[[Tensor, Tensor, Tensor], None]
"""Is given logits (m, V), the numbers of the answer tokens (k,) that they predict, in any
order, and the row of the logits for each of these (k,)."""


@dataclass(frozen=True)
class Logits:
    """Logits (M, V), made when they are read."""

    of: Tensor
    """What enters the output layer (M, H), or whole logits."""
    made: Callable[[Tensor], Tensor]
    tokens: int
    """Those that are made at a time."""

    def parts(self) -> Iterator[Tensor]:
        """Return the logits of consecutive positions, (m, V) each."""
        for part in self.of.split(self.tokens):
            yield self.made(part)


@dataclass(frozen=True)
class Predicted:
    """What the model predicts for the answer tokens (N,) of some examples, one after the other."""

    rows: list[int]
    """Number of each example."""
    logits: Logits  # (M, V); tokens of a tree that share their past share a row
    place: Tensor  # (N,) the row of the logits that predicts the token
    labels: Tensor  # (N,) the tokens
    owner: Tensor  # (N,) place in `rows` of the example that the token belongs to


@torch.no_grad()
def logits_of(
    model: LanguageModel,
    inputs: Mapping[str, Any],
    positions: Positions,
    number: int,
    compute: Compute,
) -> Logits:
    """Return the logits at `number` positions, from one call of the model.

    They are whole on a GPU, where few, and where only the model itself can make them.
    """
    width = 2 if compute.bfloat16 else next(model.parameters()).dtype.itemsize
    tokens = max(MULTIPLE, PART // width // vocabulary_of(model) // MULTIPLE * MULTIPLE)
    many = model.device.type == "cpu" and number > tokens
    look = partial(before_output_layer, model, inputs, positions)
    with compute.autocast:
        if many and can_be_asked_alone(model):
            states = look()
            if (finish := finish_of(model, look)) is not None:
                made = partial(_made, model.get_output_embeddings(), finish, compute)
                return Logits(states, made, tokens)
        whole = logits_at(model, inputs, positions)
    return Logits(whole, lambda part: part, max(1, len(whole)))


@torch.no_grad()
def _made(layer: nn.Module, finish: Finish, compute: Compute, states: Tensor) -> Tensor:
    with compute.autocast:
        return finish(layer(states))


def losses_and_choices(predicted: Predicted, look: Look | None = None) -> tuple[Tensor, Tensor]:
    """Return the NLL of every answer token and the token that the model prefers, (N,) each.

    `look` sees the logits meanwhile.
    """
    place, labels = predicted.place, predicted.labels
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    first, positions = 0, len(predicted.logits.of)
    for part in predicted.logits.parts():
        end = first + len(part)
        if len(part) == positions:  # nothing to look for, which a GPU would have to wait for
            tokens = torch.arange(len(place), device=place.device)
        else:
            tokens = ((place >= first) & (place < end)).nonzero()[:, 0]
        rows = place[tokens] - first
        top, choice, rest = _reduced(part)
        above = top[rows] - at_least_float32(part[rows, labels[tokens]])
        found.append((tokens, above + rest[rows], choice[rows]))
        if look is not None:
            look(part, tokens, rows)
        first = end
    if len(found) == 1:
        return found[0][1:]
    tokens, losses, choices = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = tokens.argsort()
    return losses[order], choices[order]


def _reduced(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the largest of the logits (m, V), where it is, and log Σ exp of what is below it.

    Float32 at least, as some rows of them are that are in the cache.
    """
    tops, choices, rests = [], [], []
    for part in map(at_least_float32, logits.split(rows_at_a_time(logits))):
        top, choice = largest(part)
        tops.append(top)
        choices.append(choice)
        # Of the differences, so that a sure token's loss is not the rounding of two large numbers.
        rests.append((part - top[:, None]).exp_().sum(-1).log_())
    return torch.cat(tops), torch.cat(choices), torch.cat(rests)


def largest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest of the logits (m, V) and the first place where it is, (m,) each.

    On a CPU that of blocks first: torch finds a value with all lanes of a register, a place one
    number after the other. 128 rows of 2048 entries took 30 µs so, not 120.
    """
    blocks = logits.shape[1] // BLOCK
    if logits.device.type != "cpu" or blocks < 2:
        return logits.max(-1)
    parts = logits[:, : blocks * BLOCK].unflatten(1, (blocks, BLOCK))
    top, block = parts.amax(-1).max(-1)
    choice = block * BLOCK + parts[torch.arange(len(parts)), block].argmax(-1)
    if blocks * BLOCK < logits.shape[1]:
        last, where = logits[:, blocks * BLOCK :].max(-1)
        choice = torch.where(last > top, where + blocks * BLOCK, choice)
        top = top.maximum(last)
    return top, choice


def rows_at_a_time(logits: Tensor) -> int:
    """Return how many rows of the logits (N, V) are reduced at a time."""
    elements = ELEMENTS if logits.device.type == "cpu" else GPU_ELEMENTS
    return max(1, elements // logits.shape[1])


def mean_losses(predicted: Predicted) -> Tensor:
    """Return the mean NLL of each example (B,) float64."""
    losses, _ = losses_and_choices(predicted)
    sums = torch.zeros(len(predicted.rows), dtype=torch.float64, device=losses.device)
    counts = torch.bincount(predicted.owner, minlength=len(predicted.rows))
    return sums.index_add_(0, predicted.owner, losses.double()) / counts
