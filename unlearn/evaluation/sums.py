"""S = Σ ℓ of an answer under a model that does not change: scored once, and kept for other runs."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.data.tokens import Example
from unlearn.evaluation.scoring import Scored, score
from unlearn.storage.cache import cache_root
from unlearn.storage.files import write_json_atomic

log = logging.getLogger(__name__)

FORMAT = 2
"""Raised whenever scoring changes its results."""


def sums_once(
    load: Callable[[], LanguageModel],
    weights: str | None,
    examples: Sequence[Example],
    compute: Compute,
    title: str,
) -> Tensor:
    """Return S of every example under the model that `load` returns, (N,) float32 on the CPU.

    `weights` is the hash of its weights; None (a model on the hub) is never cached.
    """
    if weights is None:
        return _score(load(), examples, compute, title)
    made_of = repr((FORMAT, weights, compute.where, list(examples)))
    entry = cache_root() / "sums" / f"{hashlib.sha256(made_of.encode()).hexdigest()[:24]}.json"
    found = _read(entry, len(examples))
    if found is not None:
        return found
    sums = _score(load(), examples, compute, title)
    entry.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomic(entry, sums.tolist())
    return sums


def _score(
    model: LanguageModel, examples: Sequence[Example], compute: Compute, title: str
) -> Tensor:
    rows = [Scored(title, i, "answer", 0, example) for i, example in enumerate(examples)]
    table = score(model, rows, compute, title)
    return torch.tensor(table["nll_sum"].to_numpy(), dtype=torch.float32)


def _read(entry: Path, rows: int) -> Tensor | None:
    """Return the sums if they are whole; broken ones are scored anew."""
    if not entry.is_file():
        return None
    try:
        sums = torch.tensor(json.loads(entry.read_text(encoding="utf-8")), dtype=torch.float32)
        if sums.shape != (rows,):
            raise ValueError(f"{tuple(sums.shape)} sums for {rows} rows")
    except (OSError, ValueError, TypeError) as error:
        log.warning("the cached sums are broken (%s) and are made anew", error)
        return None
    return sums
