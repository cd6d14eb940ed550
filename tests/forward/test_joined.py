"""Both tasks in one pass: the losses and the gradient of two passes, for half the calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny

from unlearn.data.batches import collate
from unlearn.forward import joined
from unlearn.forward.joined import together
from unlearn.objectives.base import Objective
from unlearn.objectives.ce_u import CEU
from unlearn.objectives.kl import KullbackLeibler
from unlearn.objectives.nll import NegativeLogLikelihood
from unlearn.objectives.simnpo import SimNPO
from unlearn.objectives.wga import WGA
from unlearn.training.tasks import Task, weighted_gradient

FORGET, RETAIN = [0, 2, 4], [1, 3, 4, 5, 7]  # of one length, the longest row is in both
WEIGHTS = (0.7, 0.4)


def pairs(target: Any) -> dict[str, tuple[Objective, Objective]]:
    """Objectives of retain and forget: one asks a second model, one for sums by row."""
    kl = KullbackLeibler()
    kl.reference = target
    return {
        "wga": (NegativeLogLikelihood(), WGA()),
        "simnpo": (NegativeLogLikelihood(), SimNPO()),
        "kl": (kl, CEU()),
    }


def taken(model: Any, objectives: tuple[Objective, Objective]) -> tuple[list[Any], int]:
    """Return losses and gradient, and how often the model was called."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    batches = [[tiny.batch(RETAIN)], [tiny.batch(FORGET)]]
    tasks = [Task(o, b) for o, b in zip(objectives, batches, strict=True)]
    handle = model.register_forward_pre_hook(count)
    try:
        *losses, gradient = weighted_gradient(
            model, *tasks, WEIGHTS, tiny.parameters(model), tiny.COMPUTE
        )
    finally:
        handle.remove()
    return [torch.stack(losses), tiny.flat(gradient)], calls


@tiny.every_architecture
@pytest.mark.parametrize("pair", ["wga", "simnpo", "kl"])
def test_losses_and_gradient_are_those_of_two_passes(
    architecture: str, pair: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.moved(architecture)
    objectives = pairs(tiny.model(architecture, dtype=torch.float64))[pair]
    found, calls = taken(model, objectives)
    monkeypatch.setattr(joined, "MOST_PADDING", 0)
    apart, more = taken(model, objectives)
    assert (calls, more) == (1, 2)
    for one, other in zip(found, apart, strict=True):
        assert tiny.relative_error(one, other) < 1e-12


def test_rows_of_very_different_length_are_read_apart() -> None:
    objectives = (NegativeLogLikelihood(), NegativeLogLikelihood())
    model = tiny.moved()
    short, long = tiny.batch([0, 1]), tiny.wider(tiny.batch([2]), 200, 0)
    calls = []
    handle = model.register_forward_pre_hook(lambda *_: calls.append(1))
    tasks = [Task(o, [b]) for o, b in zip(objectives, (short, long), strict=True)]
    weighted_gradient(model, *tasks, WEIGHTS, tiny.parameters(model), tiny.COMPUTE)
    handle.remove()
    assert len(calls) == 2


def test_a_joined_batch_is_what_its_rows_make_together() -> None:
    made = together([tiny.batch(RETAIN), tiny.batch(FORGET)])
    rows = [*RETAIN, *FORGET]
    expected = collate([tiny.examples()[row] for row in rows], rows, tiny.PAD)
    real = expected.attention_mask.bool()
    assert torch.equal(made.input_ids[real], expected.input_ids[real])
    for name in ("attention_mask", "answer_mask", "rows", "owner", "columns"):
        assert torch.equal(getattr(made, name), getattr(expected, name)), name
    assert (made.answer_tokens, made.tokens) == (expected.answer_tokens, expected.tokens)
