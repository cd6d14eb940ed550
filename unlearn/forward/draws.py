"""Tokens drawn at random, so that an answer depends on its own name and nothing beside it.

The number that chooses a token is a hash of the answer's name and the token's place: neither the
batch, nor a retry with less memory, nor a random generator has a part in it, and none is touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draw:
    """How one answer is drawn: answers of one name and one model are the same."""

    name: str
    temperature: float = 1.0
    """Above 0."""

    def number(self, place: int) -> float:
        """Return the number of [0, 1) that chooses the token at this place of the answer."""
        digest = hashlib.blake2b(f"{self.name}/{place}".encode(), digest_size=8).digest()
        return (int.from_bytes(digest) >> 11) / 2**53


def drawn(logits: Tensor, draws: Sequence[Draw], places: Sequence[int]) -> list[int]:
    """Return one token a row of the logits (B, V): that at which Σ softmax(logits/T) passes u.

    u is each row's number at its place. Sums are in float64: with a vocabulary of 128k those of
    float32 would leave out rare tokens.
    """
    numbers = [draw.number(place) for draw, place in zip(draws, places, strict=True)]
    u = torch.tensor(numbers, dtype=torch.float64, device=logits.device)
    t = torch.tensor([draw.temperature for draw in draws], dtype=u.dtype, device=u.device)
    sums = torch.softmax(logits.double() / t[:, None], -1).cumsum(-1)  # (B, V)
    found = torch.searchsorted(sums, (u * sums[:, -1])[:, None], right=True)[:, 0]
    return found.clamp(max=logits.shape[1] - 1).tolist()


class DrawnTokens:
    """The same for transformers' `generate`: of every row only the drawn token stays possible."""

    def __init__(self, draws: Sequence[Draw], prompt: int, places: Sequence[int]) -> None:
        """`prompt` tokens of a row are known already, the last of them at `places` − 1."""
        self.draws, self.prompt, self.places = draws, prompt, places

    def __call__(self, input_ids: Any, scores: Tensor) -> Tensor:
        made = input_ids.shape[1] - self.prompt
        tokens = drawn(scores, self.draws, [place + made for place in self.places])
        only = torch.full_like(scores, -torch.inf)
        only[torch.arange(len(tokens)), tokens] = 0
        return only
