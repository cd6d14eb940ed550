"""What the score table keeps token by token, for the splits whose metrics ask for it.

N answer tokens of a batch, in row-major order; V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from unlearn.forward.answers import at_least_float32
from unlearn.forward.predicted import Predicted, rows_at_a_time
from unlearn.metrics.table import HITS, LIKELIHOODS


@torch.no_grad()
def vocabulary_moments(logits: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean μ and variance σ² of log p under p itself, (n,) each, at `positions` (n,).

    μ = Σ_v p_v·log p_v and σ² = Σ_v p_v·(log p_v − μ)², p = softmax(logits) (N, V). The squares are
    of differences, since E[x²] − μ² of a confident model is the rounding of two equal numbers.
    Logits below float32 are computed in float32. An entry whose p is 0 adds nothing, also where its
    log p is −∞.
    """
    means, variances = [], []
    for part in positions.split(rows_at_a_time(logits)):
        log_p = at_least_float32(logits[part]).log_softmax(-1)
        p = log_p.exp()
        log_p.masked_fill_(p == 0, 0.0)
        mean = (p * log_p).sum(-1, keepdim=True)
        means.append(mean[:, 0])
        variances.append(log_p.sub_(mean).square_().mul_(p).sum(-1))
    return torch.cat(means), torch.cat(variances)


class Moments:
    """Mean and variance of log p under the vocabulary at some tokens (n,) of a batch.

    They are taken part by part, while the logits are there.
    """

    def __init__(self, batch: Predicted, tokens: Tensor) -> None:
        self.tokens = tokens
        self._wanted = torch.zeros(len(batch.labels), dtype=torch.bool, device=tokens.device)
        self._wanted[tokens] = True
        self._found: list[tuple[Tensor, Tensor, Tensor]] = []

    def look(self, logits: Tensor, tokens: Tensor, rows: Tensor) -> None:
        """See a part of the logits; :data:`unlearn.forward.predicted.Look`."""
        wanted = self._wanted[tokens]
        self._found.append((tokens[wanted], *vocabulary_moments(logits, rows[wanted])))

    def values(self) -> tuple[Tensor, Tensor]:
        """Return μ and σ² of the tokens, (n,) each, once every part was seen."""
        seen, means, variances = (torch.cat(part) for part in zip(*self._found, strict=True))
        order = seen.argsort()
        return means[order], variances[order]


class TokenScores:
    """Collects the lists of scored examples; one that no metric asks for costs nothing.

    `hits_of` are the numbers of the examples whose argmax hits are kept, `likelihoods_of` those
    with log p of every token and its μ and σ² under the vocabulary.
    """

    def __init__(
        self, lengths: Sequence[int], hits_of: Collection[int], likelihoods_of: Collection[int]
    ) -> None:
        self._lengths = lengths
        self._hits_of, self._likelihoods_of = hits_of, likelihoods_of
        self.lists: dict[str, dict[int, np.ndarray]] = {n: {} for n in (HITS, *LIKELIHOODS)}
        """Column name → example number → one entry a token (float32, hits bool)."""

    def moments(self, batch: Predicted) -> Moments | None:
        """Return what is to see the logits of a batch, None where nobody asks for that."""
        if not any(row in self._likelihoods_of for row in batch.rows):
            return None
        return Moments(batch, _tokens_of(batch, self._likelihoods_of))

    def add(self, batch: Predicted, losses: Tensor, hits: Tensor, moments: Moments | None) -> None:
        """Keep what is asked for of one batch; losses (N,) in nats, hits (N,) bool."""
        if kept := [row for row in batch.rows if row in self._hits_of]:
            self._store(HITS, kept, hits[_tokens_of(batch, self._hits_of)])
        if moments is not None:
            kept = [row for row in batch.rows if row in self._likelihoods_of]
            values = (-losses[moments.tokens], *moments.values())
            for name, value in zip(LIKELIHOODS, values, strict=True):
                self._store(name, kept, value.float())

    def merge(self, others: Iterable[Mapping[str, Mapping[int, np.ndarray]]]) -> None:
        """Take over the lists of other examples."""
        for lists in others:
            for name, rows in lists.items():
                self.lists[name].update(rows)

    def _store(self, name: str, rows: Sequence[int], values: Tensor) -> None:
        parts = values.cpu().split([self._lengths[row] for row in rows])
        for row, part in zip(rows, parts, strict=True):
            self.lists[name][row] = part.numpy()


def _tokens_of(batch: Predicted, wanted: Collection[int]) -> Tensor:
    """Return the places (n,) of the tokens of the wanted examples, in their order."""
    asked = torch.tensor([row in wanted for row in batch.rows], device=batch.owner.device)
    return asked[batch.owner].nonzero()[:, 0]
