"""NLL of answers under a model that does not change: scored once, and kept for other runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import led
from unlearn.data.tokens import Example
from unlearn.evaluation.scoring import Scored, score
from unlearn.metrics.table import LIKELIHOODS
from unlearn.storage.cache import entry_of, once
from unlearn.storage.files import write_json_atomic
from unlearn.storage.sealed import sealed_folder

FORMAT = 5
"""Raised whenever scoring changes its results, or entries hold something else."""
SCORES = "nll.json"
T = TypeVar("T")


def sums_once(
    load: Callable[[], LanguageModel],
    model: str | None,
    examples: Sequence[Example],
    compute: Compute,
    title: str,
) -> Tensor:
    """Return S = Σ ℓ of every example under the model that `load` returns, (N,) float32, CPU.

    `model` names it by all that can change a number; None (a model on the hub) is never cached.
    """

    def make() -> list[float]:
        table = score(load(), _answers(examples, title), compute, title)
        return list(table["nll_sum"].tolist())

    return _once("sums", make, _numbers, model, examples, compute, title)


def token_losses_once(
    load: Callable[[], LanguageModel],
    model: str | None,
    examples: Sequence[Example],
    compute: Compute,
    title: str,
) -> list[Tensor]:
    """Return ℓ of every token of every example's answer, N tensors (T_i,) float32, CPU.

    Parameters as those of :func:`sums_once`.
    """

    def make() -> list[list[float]]:
        table = score(load(), _answers(examples, title), compute, title, likelihoods_of=[title])
        return [[-float(value) for value in row] for row in table[LIKELIHOODS[0]]]

    def rows(found: list[Any]) -> list[Tensor]:
        return [_numbers(row) for row in found]

    return _once("token_losses", make, rows, model, examples, compute, title)


def _numbers(found: list[Any]) -> Tensor:
    return torch.tensor(found, dtype=torch.float32)


def _once(
    kind: str,
    make: Callable[[], list[Any]],
    read_as: Callable[[list[Any]], T],
    model: str | None,
    examples: Sequence[Example],
    compute: Compute,
    title: str,
) -> T:
    """Return one entry an example, from the cache where the same was made before.

    Of several processes rank 0 looks, as for :func:`unlearn.evaluation.kept.evaluate_once`.

    Seven parameters: the five of the functions above that name what is scored, and how this kind is
    made and read.
    """
    find = partial(_kept, kind, model, examples, compute, title)
    return read_as(led(find, make, compute.together))


def _kept(
    kind: str,
    model: str | None,
    examples: Sequence[Example],
    compute: Compute,
    title: str,
    make: Callable[[], list[Any]],
) -> list[Any]:
    if model is None:
        return make()

    def read(entry: Path) -> list[Any]:
        found = json.loads((entry / SCORES).read_text(encoding="utf-8"))
        if not isinstance(found, list) or len(found) != len(examples):
            raise ValueError(f"not an entry for each of {len(examples)} rows")
        return found

    def write(entry: Path) -> list[Any]:
        made = make()
        with sealed_folder(entry) as unfinished:
            write_json_atomic(unfinished / SCORES, made)
        return made

    made_of = repr((FORMAT, kind, model, compute.where, list(examples)))
    return once(entry_of("sums", made_of), f"{title}: its sums", read, write, unkept=make)


def _answers(examples: Sequence[Example], title: str) -> list[Scored]:
    return [Scored(title, i, "answer", 0, example) for i, example in enumerate(examples)]
