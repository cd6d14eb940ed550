"""Rows that are answered together: a token to each at a time, until all of them have ended.

B rows, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unlearn.compute.memory import Budget
from unlearn.compute.model import LanguageModel
from unlearn.console.progress import Bar
from unlearn.forward.draws import Draw, drawn
from unlearn.forward.prefix import PrefixCache
from unlearn.forward.slots import OwnCache, Slots, bytes_per_token, fits_slots
from unlearn.forward.steps import read_prompts, read_tokens

TOKENS, BYTES, SLOTS = 16384, 2**31, 128
"""Without a budget of the user's: so many tokens, or up to 128 answers where 2 GiB hold their keys
and values. More answers than that at a time hardly make a step cheaper for each."""


@dataclass
class Continued:
    """One prompt and what is known of its answer."""

    prompt: Sequence[int]
    most: int
    """Longest answer."""
    answer: list[int] = field(default_factory=list)
    ended: bool = False
    """Whether the answer has come to its end token."""
    begin: int = 0
    """The column of the cache where it begins."""
    draw: Draw | None = None
    """How its tokens are drawn; None: each is the likeliest. Alike of all rows of a batch."""

    @property
    def ids(self) -> list[int]:
        return [*self.prompt, *self.answer]

    @property
    def complete(self) -> bool:
        """Whether nothing more is asked of it."""
        return self.ended or len(self.answer) >= self.most

    def take(self, token: int, ends: Collection[int]) -> bool:
        """Add the next token; return whether the answer is complete, or as long as it may be."""
        self.ended = token in ends
        if not self.ended:
            self.answer.append(token)
        return self.complete


class BatchedDecoding:
    """Rows of similar length that share the slots of one cache until all are answered."""

    def __init__(
        self,
        model: LanguageModel,
        rows: Sequence[Continued],
        ends: Collection[int],
        budget: Budget,
        start: PrefixCache | None = None,
    ) -> None:
        self.rows, self.start, self.budget = rows, start, budget
        self.model, self.ends = model, ends
        width = max(len(row.prompt) + row.most for row in rows)
        # When the rows reach the last column they move back to the first ones: seldom, with room.
        self.columns = width + width // 4
        self.slots = 0
        self.waiting: list[Continued] = []
        self.active: list[Continued] = []
        self.cache: Slots | OwnCache | None = None

    @torch.no_grad()
    def run(self, bar: Bar) -> None:
        """Answer all rows, in fewer slots where those of the budget do not fit the memory."""
        begun = bar.done

        def attempt() -> None:
            open_rows = [row for row in self.rows if not row.complete]
            bar.advance(by=begun + len(self.rows) - len(open_rows) - bar.done)
            try:
                self._answer(open_rows, bar)
            finally:
                self.active, self.cache = [], None

        self.budget.spend(attempt)

    def _answer(self, rows: list[Continued], bar: Bar) -> None:
        """Answer these rows, each from where it is."""
        self.slots = min(len(rows), max(1, (self.budget.tokens or TOKENS) // self.columns))
        self.waiting = sorted(rows, key=lambda row: len(row.ids))  # the last is the next
        while self.waiting or self.active:
            free = self.slots - len(self.active)
            # A few at a time, since a pass over one prompt costs nearly as much as over several.
            refill = isinstance(self.cache, Slots) and free >= max(1, self.slots // 8)
            self.budget.trying(self.slots, self.slots * self.columns)
            if self.waiting and (refill or not self.active):
                done = self._admit(free)
            else:
                done = self._step()
            self.budget.fits()
            if done:
                bar.advance(by=done)

    def _admit(self, free: int) -> int:
        """Read the next prompts, and give those a slot whose answers go on; return the others."""
        rows = [self.waiting.pop() for _ in range(min(free, len(self.waiting)))]
        ahead = 0 if self.start is None else len(self.start)
        logits, read = read_prompts(self.model, [row.ids for row in rows], self.start)
        lengths = [len(row.ids) for row in rows]
        longest, device = max(lengths), logits.device
        going = self._take(rows, logits)
        if not going:
            return len(rows)
        if len(going) < len(rows):
            read.batch_select_indices(torch.tensor(going, device=device))
        cache = self.cache
        if not fits_slots(read):
            cache = OwnCache(read, len(going), longest, device)
        else:
            if not isinstance(cache, Slots):
                if self.budget.tokens is None:
                    # Only now is it known how much a token takes: small models get more slots.
                    affordable = min(SLOTS, BYTES // (bytes_per_token(read) * self.columns))
                    waiting = len(self.waiting) + len(rows)
                    self.slots = min(waiting, max(self.slots, affordable))
                    self.budget.trying(self.slots, self.slots * self.columns)
                cache = Slots(read, self.slots, self.columns)
            if cache.window.end < longest:
                self._move(cache, longest)
            cache.admit(read, [cache.window.end - lengths[row] for row in going], ahead)
        for row in going:
            rows[row].begin = cache.window.end - lengths[row]
            self.active.append(rows[row])
        self.cache = cache
        return len(rows) - len(going)

    def _step(self) -> int:
        """Add a token to every active row; return how many are complete with it."""
        cache = self.cache
        assert cache is not None
        cache.crop(min(row.begin for row in self.active))
        if isinstance(cache, Slots) and cache.window.end == cache.columns:
            self._move(cache, cache.window.end - cache.window.first)
        begins, tokens = zip(*((row.begin, row.answer[-1]) for row in self.active), strict=True)
        logits = read_tokens(self.model, cache, begins, tokens)
        going = self._take(self.active, logits)
        done = len(self.active) - len(going)
        if done:
            gone = sorted(set(range(len(self.active))) - set(going))
            self.active = [self.active[slot] for slot in cache.leave(gone)]
        return done

    def _take(self, rows: Sequence[Continued], logits: Tensor) -> list[int]:
        """Give every row its next token by the logits (B, V); return the places that go on."""
        draws = [row.draw for row in rows if row.draw is not None]
        if draws:
            chosen = drawn(logits, draws, [len(row.answer) for row in rows])
        else:
            chosen = logits.argmax(-1).tolist()
        return [
            place
            for place, (row, token) in enumerate(zip(rows, chosen, strict=True))
            if not row.take(token, self.ends)
        ]

    def _move(self, cache: Slots, end: int) -> None:
        by = cache.move(end)
        for row in self.active:
            row.begin += by
