"""Batches: collation with masks from lengths, seeded pairing, and batches by length.

Shapes: B rows, T tokens of the longest row.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from unlearn.data.tokens import Example

PAD = 0
"""What stands beyond the end of a row. Masks come from lengths, so no model ever reads it, and any
id that every vocabulary holds will do."""


@dataclass(frozen=True)
class Batch:
    """Right-padded rows. The masks come from lengths, never from ids: pad is often also the end."""

    input_ids: Tensor  # (B, T) int64
    attention_mask: Tensor  # (B, T) int64, 1 = a real token
    answer_mask: Tensor  # (B, T) bool, True at the tokens of the answer
    rows: Tensor  # (B,) int64, index of each row in its set
    owner: Tensor  # (N,) int64, row of each answer token in the batch, in row-major order
    columns: Tensor  # (N,) int64, where in its row it stands
    answer_tokens: int
    """N, counted here so that no step waits for the device to count; `owner` and `columns` are here
    for the same reason: a mask on a GPU has to be counted before anything is picked by it."""
    tokens: int
    """Tokens of the batch, prompts included and padding not."""
    idle: bool = False
    """Whether it counts for nothing: a process with fewer rows passes through a sharded model as
    often as the others."""

    @property
    def size(self) -> int:
        return self.input_ids.shape[0]

    @property
    def places(self) -> Tensor:
        """Where in its answer each answer token stands, (N,) int64."""
        begins = self.answer_mask.int().argmax(dim=1)  # (B,)
        return self.columns - begins[self.owner]

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on `device`; a GPU's is on its way there, and nobody waits for it."""
        pinned = torch.device(device).type == "cuda" and self.input_ids.device.type == "cpu"

        def moved(tensor: Tensor) -> Tensor:
            return (tensor.pin_memory() if pinned else tensor).to(device, non_blocking=pinned)

        return Batch(
            moved(self.input_ids),
            moved(self.attention_mask),
            moved(self.answer_mask),
            moved(self.rows),
            moved(self.owner),
            moved(self.columns),
            self.answer_tokens,
            self.tokens,
            self.idle,
        )


def collate(examples: Sequence[Example], rows: Sequence[int], pad: int = PAD) -> Batch:
    """Return one right-padded batch of `examples`, whose indices in their set are `rows`."""
    unpadded = [torch.tensor(example.prompt + example.answer) for example in examples]
    ids = pad_sequence(unpadded, batch_first=True, padding_value=pad)
    begins = torch.tensor([[len(example.prompt)] for example in examples])
    columns, ends = torch.arange(ids.shape[1]), torch.tensor([[len(e)] for e in examples])
    real, answer = columns < ends, (columns >= begins) & (columns < ends)
    owner, places = answer.nonzero(as_tuple=True)
    tokens = sum(map(len, examples))
    numbers = torch.tensor(list(rows))
    return Batch(ids, real.long(), answer, numbers, owner, places, len(owner), tokens)


class SeededOrder:
    """An endless stream of row indices: every row once, shuffled, then every row again, reshuffled.

    The batch of a step is a pure function of (seed, name, step): resuming needs no state, and no
    global random generator is read or moved.
    """

    def __init__(self, rows: int, batch_size: int, seed: int, name: str) -> None:
        self.rows, self.batch_size = rows, min(batch_size, rows)
        self.seed, self.name = seed, name
        self._pass: tuple[int, list[int]] = (-1, [])

    def _order(self, number: int) -> list[int]:
        if self._pass[0] != number:
            order = list(range(self.rows))
            random.Random(f"{self.name}/{self.seed}/{number}").shuffle(order)
            self._pass = (number, order)
        return self._pass[1]

    def batch(self, step: int) -> list[int]:
        """Row indices of step 0, 1, 2 …"""
        first = step * self.batch_size
        positions = range(first, first + self.batch_size)
        return [self._order(p // self.rows)[p % self.rows] for p in positions]


@dataclass(frozen=True)
class Share:
    """Which rows of a batch are this process's: each `processes`-th, from its own number on."""

    rank: int = 0
    processes: int = 1
    in_step: bool = False
    """Whether all processes need as many micro-batches, as a sharded model does."""


ALL = Share()


class PairedBatches:
    """For every step a forget batch and a retain batch, each as a list of micro-batches.

    Both sets are drawn without replacement until exhausted. Within a step the rows are sorted by
    length before they are cut into micro-batches, which changes no loss and saves padding. Of
    several processes each gets its share of the same rows, which may be none.
    """

    def __init__(
        self,
        forget: Sequence[Example],
        retain: Sequence[Example],
        batch_size: int,
        micro_batch_size: int | None,
        seed: int,
        share: Share = ALL,
    ) -> None:
        self.share = share
        self.sets = {"forget": forget, "retain": retain}
        self.orders = {
            name: SeededOrder(len(rows), batch_size, seed, name) for name, rows in self.sets.items()
        }
        self.micro_batch_size = micro_batch_size or batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Steps that visit every forget row once; an epoch is a pass over the forget set."""
        order = self.orders["forget"]
        return -(-order.rows // order.batch_size)

    def _micro_batches(self, name: str, rows: Sequence[int]) -> list[Batch]:
        examples = self.sets[name]
        rows = sorted(rows, key=lambda row: len(examples[row]))
        size, share = self.micro_batch_size, self.share
        mine = rows[share.rank :: share.processes]
        parts = [mine[start : start + size] for start in range(0, len(mine), size)]
        batches = [collate([examples[row] for row in part], part) for part in parts]
        if share.in_step:  # rank 0 has the most rows; the shortest one is the cheapest to pass
            idle = replace(collate([examples[rows[0]]], rows[:1]), idle=True)
            most = -(-len(rows[:: share.processes]) // size)
            batches += [idle] * (most - len(batches))
        return batches

    def step(self, step: int) -> tuple[list[Batch], list[Batch]]:
        """Return the (forget, retain) micro-batches of `step`."""
        forget, retain = (
            self._micro_batches(name, self.orders[name].batch(step)) for name in self.sets
        )
        return forget, retain

    def every(self, name: str) -> list[Batch]:
        """Return all rows of a set once, as micro-batches."""
        return self._micro_batches(name, range(len(self.sets[name])))


def batches_by_length(lengths: Sequence[int], tokens: int, most_rows: int = 256) -> list[list[int]]:
    """Cut rows into batches of at most `tokens` padded tokens, longest first: padding is rare."""
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    batches: list[list[int]] = []
    for row in order:
        last = batches[-1] if batches else None
        if last and (len(last) + 1) * lengths[last[0]] <= tokens and len(last) < most_rows:
            last.append(row)
        else:
            batches.append([row])
    return batches
