"""S = Σ ℓ of an answer under a model that does not change: scored once, and kept for other runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearn.data.tokens import Example
from unlearn.evaluation.scoring import Scored, score
from unlearn.storage.cache import entry_of, once
from unlearn.storage.files import write_json_atomic

FORMAT = 2
"""Raised whenever scoring changes its results."""


def sums_once(
    load: Callable[[], Any],
    weights: str | None,
    examples: Sequence[Example],
    pad: int,
    autocast: AbstractContextManager,
    precision: str,
    title: str,
    tokens: int = 8192,
) -> Tensor:
    """Return S of every example under the model that `load` returns, (N,) float32 on the CPU.

    `weights` is the hash of its weights; None (a model on the hub) is never cached. `tokens` is the
    budget of a batch in padded tokens, which changes no score.
    """
    if weights is None:
        return _score(load(), examples, pad, autocast, title, tokens)

    def read(entry: Path) -> Tensor:
        sums = torch.tensor(json.loads(entry.read_text(encoding="utf-8")), dtype=torch.float32)
        if sums.shape != (len(examples),):
            raise ValueError(f"{tuple(sums.shape)} sums for {len(examples)} rows")
        return sums

    def make(entry: Path) -> Tensor:
        sums = _score(load(), examples, pad, autocast, title, tokens)
        write_json_atomic(entry, sums.tolist())
        return sums

    made_of = repr((FORMAT, weights, precision, list(examples)))
    return once(entry_of("sums", made_of, ".json"), f"{title}: its sums", read, make)


def _score(
    model: Any,
    examples: Sequence[Example],
    pad: int,
    autocast: AbstractContextManager,
    title: str,
    tokens: int,
) -> Tensor:
    rows = [Scored(title, i, "answer", 0, example) for i, example in enumerate(examples)]
    table = score(model, rows, pad, autocast, tokens, title)
    return torch.tensor(table["nll_sum"].to_numpy(), dtype=torch.float32)
