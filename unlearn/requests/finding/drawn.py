"""Rows to retain: near the subject, and from everywhere, in one pass over the data."""

from __future__ import annotations

import heapq
import random
from typing import NamedTuple

from unlearn.data.records import Record


class Candidate(NamedTuple):
    """A row that may be kept, with where it comes from."""

    number: int
    source: int
    place: str
    record: Record


class Drawn:
    """The rows nearest to the subject, no text twice, and a fair sample of all (algorithm R)."""

    def __init__(self, near: int, anywhere: int, seed: int) -> None:
        self._most, self._anywhere = near, anywhere
        self._random = random.Random(seed)
        self._heap: list[tuple[float, float, int, Candidate]] = []
        self._texts: set[int] = set()
        # Of those from everywhere some are near as well, and count there.
        self._room = anywhere + near
        self._sample: list[Candidate] = []
        self._seen = 0

    def offer(self, candidate: Candidate, nearness: float, text: str) -> None:
        """Take a row, or leave it."""
        self._seen += 1
        place, tie = int(self._random.random() * self._seen), self._random.random()
        if len(self._sample) < self._room:
            self._sample.append(candidate)
        elif place < self._room:
            self._sample[place] = candidate
        full = len(self._heap) >= self._most
        if not self._most or nearness <= 0 or (full and (nearness, tie) <= self._heap[0][:2]):
            return
        key = hash(text)
        if key in self._texts:
            return
        self._texts.add(key)
        kept = (nearness, tie, key, candidate)
        if full:
            self._texts.discard(heapq.heapreplace(self._heap, kept)[2])
        else:
            heapq.heappush(self._heap, kept)

    def near(self) -> list[Candidate]:
        """Return the rows near the subject, the nearest first."""
        return [kept[3] for kept in sorted(self._heap, key=lambda kept: (-kept[0], kept[1]))]

    def anywhere(self) -> list[Candidate]:
        """Return the sample of all others, in the order of the data."""
        taken = {kept[3].number for kept in self._heap}
        others = [candidate for candidate in self._sample if candidate.number not in taken]
        self._random.shuffle(others)
        return sorted(others[: self._anywhere], key=lambda candidate: candidate.number)
