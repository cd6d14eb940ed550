"""In how many rows a word stands, in a memory that does not grow with the words.

A count-min sketch (Cormode and Muthukrishnan 2005): two rows of counters, each word in one of each;
the lesser of the two is never too small, and rarely too large.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

import numpy as np

WIDTH = 2**22
"""Counters of a row; the two rows take 32 MiB."""
_BLOCK = 50_000
"""Words that are gathered before the counters are touched."""


class Frequencies:
    """Rows in which each word stands."""

    def __init__(self, width: int = WIDTH) -> None:
        self._width = width
        self._counters = np.zeros((2, width), dtype=np.uint32)
        self._waiting: Counter[str] = Counter()
        self.rows = 0

    def add(self, words: Iterable[str]) -> None:
        """Count one row; `words` are different ones."""
        self.rows += 1
        self._waiting.update(words)
        if len(self._waiting) > _BLOCK:
            self._settle()

    def of(self, word: str) -> int:
        """Return in how many rows a word stands, at the least."""
        self._settle()
        places = self._places(word)
        return int(min(self._counters[row, place] for row, place in enumerate(places)))

    def _settle(self) -> None:
        if not self._waiting:
            return
        places = np.array([self._places(word) for word in self._waiting])
        counts = np.fromiter(self._waiting.values(), dtype=np.uint32, count=len(places))
        for row in range(2):
            np.add.at(self._counters[row], places[:, row], counts)
        self._waiting.clear()

    def _places(self, word: str) -> tuple[int, int]:
        # Not hash(): it is another one in every process, and a search is to give the same twice.
        found = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        return found % self._width, (found >> 32) % self._width
