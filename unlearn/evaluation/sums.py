"""S = Σ ℓ of an answer under a model that does not change: scored once, and kept for other runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.data.tokens import Example
from unlearn.evaluation.scoring import Scored, score
from unlearn.storage.cache import entry_of, once
from unlearn.storage.files import write_json_atomic
from unlearn.storage.sealed import sealed_folder

FORMAT = 4
"""Raised whenever scoring changes its results, or entries hold something else."""
SUMS = "sums.json"


def sums_once(
    load: Callable[[], LanguageModel],
    model: str | None,
    examples: Sequence[Example],
    compute: Compute,
    title: str,
) -> Tensor:
    """Return S of every example under the model that `load` returns, (N,) float32 on the CPU.

    `model` names it by all that can change a number; None (a model on the hub) is never cached.
    """
    if model is None:
        return _score(load(), examples, compute, title)

    def read(entry: Path) -> Tensor:
        found = json.loads((entry / SUMS).read_text(encoding="utf-8"))
        sums = torch.tensor(found, dtype=torch.float32)
        if sums.shape != (len(examples),):
            raise ValueError(f"{tuple(sums.shape)} sums for {len(examples)} rows")
        return sums

    def make(entry: Path) -> Tensor:
        sums = _score(load(), examples, compute, title)
        with sealed_folder(entry) as unfinished:
            write_json_atomic(unfinished / SUMS, sums.tolist())
        return sums

    made_of = repr((FORMAT, model, compute.where, list(examples)))
    return once(
        entry_of("sums", made_of),
        f"{title}: its sums",
        read,
        make,
        unkept=lambda: _score(load(), examples, compute, title),
    )


def _score(
    model: LanguageModel, examples: Sequence[Example], compute: Compute, title: str
) -> Tensor:
    rows = [Scored(title, i, "answer", 0, example) for i, example in enumerate(examples)]
    table = score(model, rows, compute, title)
    return torch.tensor(table["nll_sum"].to_numpy(), dtype=torch.float32)
