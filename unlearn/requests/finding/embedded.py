"""Rows that read like the subject's by a model's own embeddings of words, where a model is given.

A row is the mean of the embeddings of its tokens, the frequent ones weighing less, without what all
rows have in common (SIF: Arora, Liang and Ma 2017, "A simple but tough-to-beat baseline for
sentence embeddings"). Only the embedding matrix is used: the model itself never runs, so that
millions of rows can be compared.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unlearn.errors import ConfigurationError
from unlearn.requests.finding.drawn import Candidate

Vectors = NDArray[np.float32]
COMPARED = 1_000
"""Rows of the subject that others are compared with, at the most; as many others are sampled."""
RARE = 1e-3
"""The a of SIF: a token of this share of all tokens weighs half as much as a rare one."""
ABOVE = 0.001
"""Share of the sampled others that may be as close as a row must be to be told."""
LEAST = 3
"""Fewest of them: among the others are the very rows that are looked for."""
TOLD = 100
"""Rows that are told, the closest ones."""


class Words(NamedTuple):
    """The tokenizer of a model and its embeddings."""

    path: str
    tokenizer: Any
    matrix: Vectors  # (vocabulary, hidden)


class Embedded:
    """The subject's rows as vectors, and the rows that were closest to them so far."""

    def __init__(
        self, words: Words, seeds: Sequence[tuple[str, str]], others: Sequence[str]
    ) -> None:
        """Embed `seeds`, (place, text) without the words that name the subject, and others."""
        self._path, self._tokenizer, self._matrix = words
        self._places = [place for place, _ in seeds][:COMPARED]
        counts = np.zeros(len(self._matrix))
        for text in others:
            np.add.at(counts, self._ids(text), 1)
        self._weights = RARE / (RARE + counts / max(counts.sum(), 1))
        self._common = np.zeros(self._matrix.shape[1], dtype=np.float32)
        sample = self._vectors(others)
        if len(sample) > 1:
            self._common = np.linalg.svd(sample, full_matrices=False)[2][0]
        self._seeds = self._vectors([text for _, text in seeds][:COMPARED])
        closest = (self._vectors(others) @ self._seeds.T).max(axis=1, initial=-1.0)
        self._above = min(max(ABOVE, LEAST / max(len(others), 1)), 1.0)
        self.bound = float(np.quantile(closest, 1 - self._above)) if len(closest) else 1.0
        """Closeness from which on a row is told."""
        self._heap: list[tuple[float, int, str, Candidate]] = []

    def offer(self, candidate: Candidate, text: str) -> bool:
        """Take a row that is close enough; returns whether it is."""
        (vector,) = self._vectors([text])
        closeness = self._seeds @ vector
        best = int(closeness.argmax())
        close = float(closeness[best])
        if close <= self.bound:
            return False
        kept = (close, -candidate.number, self._places[best], candidate)
        (heapq.heappushpop if len(self._heap) >= TOLD else heapq.heappush)(self._heap, kept)
        return True

    def close(self) -> list[tuple[Candidate, str]]:
        """Return the closest rows in the order of the data, each with its reason."""
        ordered = sorted(self._heap, key=lambda kept: kept[3].number)
        return [
            (
                candidate,
                f"reads like {place}: closeness {close:.2f} by the embeddings of {self._path}; "
                f"{self._above:.1%} of other rows are above {self.bound:.2f}",
            )
            for close, _, place, candidate in ordered
        ]

    def _ids(self, text: str) -> list[int]:
        found = self._tokenizer.encode(text, add_special_tokens=False)
        return [one for one in dict.fromkeys(found) if one < len(self._matrix)]

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        """Return one vector of length 1 a text; of a text without tokens, zeros."""
        made = np.zeros((len(texts), self._matrix.shape[1]), dtype=np.float32)
        for row, text in enumerate(texts):
            if ids := self._ids(text):
                made[row] = self._weights[ids] @ self._matrix[ids] / len(ids)
        made -= np.outer(made @ self._common, self._common)
        lengths = np.linalg.norm(made, axis=1, keepdims=True)
        lengths[lengths == 0] = 1
        return (made / lengths).astype(np.float32)


def load_words(path: str) -> Words:
    """Load what is needed of a model; raises ConfigurationError for one that cannot be loaded."""
    from unlearn.models.load import load_tokenizer, load_weights
    from unlearn.options.schema import ModelConfig

    if not Path(path).is_dir():
        raise ConfigurationError(f"--model={path}: no such folder; give the folder of a model")
    config = ModelConfig(path=path)
    tokenizer = load_tokenizer(config, path)
    model = load_weights(config, path, "--model")
    return Words(path, tokenizer, model.get_input_embeddings().weight.detach().float().numpy())
