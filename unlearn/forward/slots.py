"""What a model remembers of the rows that it is answering: keys and values in slots made once.

transformers' own cache is concatenated anew at every token, which on a CPU costs more than the
model's arithmetic, and copied whole when a row leaves. Here a token is written in place, and a row
that leaves gives its slot to the last row. S slots, H heads, C columns, D numbers a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer


@dataclass
class Window:
    """The part of the buffers that is in use: the first `rows` slots, columns `first` to `end`.

    All rows end at the same column; a shorter one begins later, with padding ahead of it.
    """

    rows: int = 0
    first: int = 0
    end: int = 0


class SlotLayer(DynamicLayer):
    """The buffers of one layer of the model, (S, H, C, D) each."""

    def __init__(self, window: Window, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.window, self._buffers = window, (keys, values)
        self.keys, self.values = keys, values

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the next token of every row, and return what the rows see: views, no copies."""
        used, after = self.window, self.window.end + key_states.shape[-2]
        views = []
        for buffer, new in ((self._buffers[0], key_states), (self._buffers[1], value_states)):
            buffer[: used.rows, :, used.end : after] = new
            views.append(buffer[: used.rows, :, used.first : after])
        return views[0], views[1]

    def get_seq_length(self) -> int:
        """Return the columns that were there before the next token."""
        return self.window.end - self.window.first


class Slots:
    """A cache of `count` slots for models whose layers all attend to everything before them."""

    def __init__(self, like: DynamicCache, count: int, columns: int) -> None:
        self.window, self.columns = Window(), columns
        self.buffers = [
            states.new_zeros((count, states.shape[1], columns, states.shape[3]))
            for states in states_of(like)
        ]
        """Keys and values of every layer in turn, (S, H, C, D) each."""
        pairs = zip(self.buffers[::2], self.buffers[1::2], strict=True)
        self.cache = Cache(layers=[SlotLayer(self.window, *pair) for pair in pairs])

    def crop(self, first: int) -> None:
        """Leave out the columns before `first`, where every row is padding."""
        self.window.first = first

    def move(self, end: int) -> int:
        """Move what is in use so that it ends at column `end`; return by how many columns."""
        used, by = self.window, end - self.window.end
        if by and used.rows:
            old, new = slice(used.first, used.end), slice(used.first + by, used.end + by)
            for states in self.buffers:
                states[: used.rows, :, new] = states[: used.rows, :, old].clone()
        used.first, used.end = used.first + by, end
        return by

    def admit(self, cache: DynamicCache, begins: list[int], ahead: int = 0) -> None:
        """Put the rows of a prefilled cache, all of which end together, into free slots.

        The first `ahead` columns are the start that all rows share. The padding of a short row
        stands behind it there; here its start follows the padding, at the column where it begins.
        """
        used, device = self.window, self.buffers[0].device
        slots = torch.arange(used.rows, used.rows + len(begins), device=device)
        columns = torch.tensor(begins, device=device)[:, None] + torch.arange(ahead, device=device)
        for mine, theirs in zip(self.buffers, states_of(cache), strict=True):
            first = used.end - (theirs.shape[2] - ahead)
            mine[used.rows : used.rows + len(begins), :, first : used.end] = theirs[:, :, ahead:]
            if ahead:
                mine[slots[:, None], :, columns] = theirs[:, :, :ahead].transpose(1, 2)
        used.rows += len(begins)

    def leave(self, gone: list[int]) -> list[int]:
        """Free the slots `gone`; return the old slot of every row that stays, in the new order."""
        used = self.window
        order = list(range(used.rows - len(gone)))
        holes = [slot for slot in gone if slot < len(order)]
        movers = [slot for slot in range(len(order), used.rows) if slot not in gone]
        span = slice(used.first, used.end)
        for hole, mover in zip(holes, movers, strict=True):
            order[hole] = mover
            for states in self.buffers:
                states[hole, :, span] = states[mover, :, span]
        used.rows = len(order)
        return order


class OwnCache:
    """The cache that the model made itself: rows leave it, but none joins the others.

    For models with sliding windows or a cache of their own make.
    """

    def __init__(self, cache: Any, rows: int, columns: int, device: torch.device) -> None:
        self.cache, self.window, self._device = cache, Window(rows, 0, columns), device

    def crop(self, first: int) -> None:
        """Change nothing: the cache keeps its columns."""

    def leave(self, gone: list[int]) -> list[int]:
        """Drop the rows `gone`; return the old place of every row that stays."""
        order = [row for row in range(self.window.rows) if row not in gone]
        self.window.rows = len(order)
        if order:
            self.cache.batch_select_indices(torch.tensor(order, device=self._device))
        return order


def states_of(cache: DynamicCache) -> list[Tensor]:
    """Return keys and values of every layer in turn."""
    layers: list[Any] = cache.layers
    return [states for layer in layers for states in (layer.keys, layer.values)]


def bytes_per_token(cache: DynamicCache) -> int:
    """Return what one token of one row takes in all layers."""
    return sum(
        states.shape[1] * states.shape[3] * states.element_size() for states in states_of(cache)
    )


def fits_slots(cache: Any) -> bool:
    """Return whether a model that fills such a cache can be given slots instead."""
    return type(cache) is DynamicCache and all(
        type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers
    )
