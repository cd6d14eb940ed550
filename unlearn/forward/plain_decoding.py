"""Answers by transformers' own `generate`, for models whose memory has no columns (Mamba, RWKV).

Rows of one length at a time: such a model reads padding as it reads any other token.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch

from unlearn.compute.memory import Budget
from unlearn.compute.model import LanguageModel
from unlearn.console.progress import Bar
from unlearn.forward.decoding import TOKENS, Continued
from unlearn.forward.draws import DrawnTokens


@torch.no_grad()
def answer_plainly(
    model: LanguageModel,
    rows: Sequence[Continued],
    ends: Collection[int],
    budget: Budget,
    bar: Bar,
) -> None:
    """Answer all rows; `budget` bounds the tokens of a batch, prompts and answers."""

    def shape(row: Continued) -> tuple[int, int]:
        return len(row.ids), row.most - len(row.answer)

    with _greedy_alone(model, ends) as options:

        def attempt() -> None:
            left = sorted((row for row in rows if not row.complete), key=shape)
            for (length, room), alike in groupby(left, key=shape):
                group = list(alike)
                count = max(1, (budget.tokens or TOKENS) // (length + room))
                for first in range(0, len(group), count):
                    batch = group[first : first + count]
                    budget.trying(len(batch), len(batch) * (length + room))
                    ids = torch.tensor([row.ids for row in batch], device=model.device)
                    draws = [row.draw for row in batch if row.draw is not None]
                    places = [len(row.answer) for row in batch]
                    chosen = [DrawnTokens(draws, length, places)] if draws else None
                    found = model.generate(
                        ids,
                        attention_mask=torch.ones_like(ids),
                        max_new_tokens=room,
                        logits_processor=chosen,
                        **options,
                    )
                    budget.fits()
                    for row, answer in zip(batch, found[:, length:].tolist(), strict=True):
                        any(row.take(token, ends) for token in answer)
                    bar.advance(by=len(batch))

        budget.spend(attempt)


@contextmanager
def _greedy_alone(model: LanguageModel, ends: Collection[int]) -> Iterator[dict[str, Any]]:
    """Put what the model's author set for generation (sampling, penalties) aside for a while."""
    from transformers import GenerationConfig

    configured = model.generation_config
    ending = sorted(ends)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=ending, pad_token_id=ending[0]
    )
    try:
        yield {"do_sample": False}
    finally:
        model.generation_config = configured
