"""Under autocast a stage casts each weight once, and nothing of a number changes by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest
import torch
from support import tiny
from support.tiny import every_architecture
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unlearn.compute.casting import weights_cast_once
from unlearn.compute.device import Compute
from unlearn.evaluation import scoring
from unlearn.forward import generation

NEW_TOKENS = 12
TRANSPOSED = ("falcon",)
"""Architectures whose layers multiply by a view of their weights, which autocast casts anew."""
ANSWERS = scoring.answers_to_score(tiny.encoder(), "forget", tiny.ROWS)
PROMPTS = [tiny.encoder().prompt(row.question) for row in tiny.ROWS]


class Casts(TorchDispatchMode):
    """Counts how many weights of a model become bfloat16."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.places = {parameter.data_ptr() for parameter in model.parameters()}
        self.weights = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given: Tensor | None = args[0] if args and isinstance(args[0], Tensor) else None
        found = func(*args, **(kwargs or {}))
        cast = isinstance(found, Tensor) and found.dtype == torch.bfloat16
        if cast and given is not None and given.dtype == torch.float32:
            self.weights += given.numel() * (given.data_ptr() in self.places)
        return found


@contextmanager
def cast_every_time(_model: Any, compute: Compute) -> Iterator[Compute]:
    """What weights_cast_once replaces."""
    with torch.no_grad(), compute.autocast:
        yield compute


def scored(model: Any, compute: Compute) -> pd.DataFrame:
    return scoring.score(model, ANSWERS, compute, likelihoods_of=["forget"], hits_of=["forget"])


def answered(model: Any, compute: Compute, most: int = NEW_TOKENS) -> list[str]:
    return generation.generate(model, tiny.encoder(), PROMPTS, compute, most)


def counted(stage: Callable[[Any, Compute], Any], model: Any) -> tuple[Any, float]:
    """What a stage gives, and its casts in models."""
    with Casts(model) as casts:
        found = stage(model, tiny.BFLOAT16)
    return found, casts.weights / sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("frozen", [False, True])
@every_architecture
def test_a_stage_casts_a_model_once_and_gives_the_same_bits(
    architecture: str, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once more for the beginning that all prompts share, which is read before the stage."""
    model = tiny.model(architecture)
    model.requires_grad_(not frozen)
    small = tiny.compute(bfloat16=True, score_tokens=1)  # as many passes as there are rows
    texts, answering = counted(answered, model)
    table, scoring_casts = counted(lambda model, _: scored(model, small), model)
    with monkeypatch.context() as patch:
        patch.setattr(generation, "weights_cast_once", cast_every_time)
        patch.setattr(scoring, "weights_cast_once", cast_every_time)
        texts_before, before = counted(answered, model)
        table_before, scoring_before = counted(lambda model, _: scored(model, small), model)
    assert texts == texts_before
    pd.testing.assert_frame_equal(table, table_before, check_exact=True)
    assert all(p.requires_grad is not frozen for p in model.parameters())
    if architecture not in TRANSPOSED:
        assert answering <= 2
        assert scoring_casts <= 2
        assert before > 3 * answering
        assert scoring_before > 2 * scoring_casts
        _, fewer = counted(lambda model, compute: answered(model, compute, 3), model)
        assert fewer == answering  # a generated token costs none


def test_the_next_stage_sees_weights_that_moved_since_even_within_an_autocast() -> None:
    model = tiny.model()
    with tiny.BFLOAT16.autocast:
        before = scored(model, tiny.BFLOAT16)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.1)
        after = scored(model, tiny.BFLOAT16)
    assert (before["nll_sum"] != after["nll_sum"]).all()
    pd.testing.assert_frame_equal(after, scored(model, tiny.BFLOAT16), check_exact=True)


def test_weights_in_shards_are_cast_at_every_pass() -> None:
    compute = tiny.compute(bfloat16=True, sharded=True)
    with weights_cast_once(tiny.model(), compute) as used:
        assert used == compute
        assert not torch.is_autocast_cache_enabled()
    with weights_cast_once(tiny.model(), tiny.BFLOAT16):
        assert torch.is_autocast_cache_enabled()
