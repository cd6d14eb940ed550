"""Both tasks in one pass: the losses and the gradient of two passes, for half the calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from support import tiny

from unlearn.compute.device import Compute
from unlearn.data.batches import Batch, collate
from unlearn.forward import chunks, shared_pass
from unlearn.forward.packing import compare_rows
from unlearn.forward.shared_pass import joined_pass, together
from unlearn.objectives.ascent import Ascent
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
    """Objectives of retain and forget: some ask a second model, sums by row, or one sum alone."""
    kl = KullbackLeibler()
    kl.reference = target
    return {
        "wga": (NegativeLogLikelihood(), WGA()),
        "simnpo": (NegativeLogLikelihood(), SimNPO()),
        "kl": (kl, CEU()),
        "sums": (NegativeLogLikelihood(), Ascent()),
        "rows first": (SimNPO(), NegativeLogLikelihood()),
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
@pytest.mark.parametrize("pair", ["wga", "simnpo", "kl", "sums", "rows first"])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "sums in chunks"])
def test_losses_and_gradient_are_those_of_two_passes(
    architecture: str, pair: str, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.moved(architecture)
    objectives = pairs(tiny.model(architecture, dtype=torch.float64))[pair]
    if cut:
        monkeypatch.setattr(chunks, "WHOLE_SUM", 0)
        monkeypatch.setattr(chunks, "SUM", 3 * len(tiny.tokenizer()) * 8)
    compare_rows(model)  # both are tried once, which is not counted here
    assert chunks.is_cut(model, tiny.batch(FORGET), only_sum=True) is cut
    monkeypatch.setattr(shared_pass, "MOST_POSITIONS", 10**6)  # eight rows are many already
    found, calls = taken(model, objectives)
    monkeypatch.setattr(shared_pass, "MOST_PADDING", 0)
    apart, more = taken(model, objectives)
    assert (calls, more) == (1, 2)
    for one, other in zip(found, apart, strict=True):
        assert tiny.relative_error(one, other) < 1e-12


def passes(
    retain: Batch, forget: Batch, compute: Compute = tiny.COMPUTE, architecture: str = "gpt2"
) -> str:
    """Return what is made for the gradient of both tasks: F and B, forward and backward passes."""
    model, objective = tiny.moved(architecture), NegativeLogLikelihood()
    compare_rows(model)
    made: list[str] = []
    model.register_forward_pre_hook(lambda *_: made.append("F"))
    model.get_output_embeddings().weight.register_post_accumulate_grad_hook(
        lambda _: made.append("B")
    )
    tasks = [Task(objective, [batch]) for batch in (retain, forget)]
    weighted_gradient(model, *tasks, WEIGHTS, tiny.parameters(model), compute)
    return "".join(made)


def test_rows_of_very_different_length_are_read_apart_where_padding_is_read() -> None:
    pair = tiny.batch([0, 1]), tiny.wider(tiny.batch([2, 3]), 100, 0)
    assert passes(*pair, architecture="falcon") == "FBFB"
    assert passes(*pair, architecture="llama") == "FB"


def test_a_model_of_many_weights_reads_more_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    retain, forget = tiny.batch([0] * 20), tiny.batch([0] * 20)
    monkeypatch.setattr(shared_pass, "WEIGHTS_A_POSITION", 1)
    assert passes(retain, forget) == "FB"


def test_on_a_gpu_the_rows_read_at_once_go_by_the_bytes_of_a_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the activations of the second task take, its gradient would have taken."""
    model, rows = tiny.moved("gpt2"), [tiny.batch([0] * 20), tiny.batch([0] * 20)]

    def joined() -> bool:
        with joined_pass(model, rows) as found:
            return found

    tiny.says_gpu(model, monkeypatch)
    assert not joined()
    positions = sum(batch.input_ids.numel() for batch in rows)
    enough = sum(parameter.nbytes for parameter in model.parameters()) / positions
    monkeypatch.setattr(shared_pass, "BYTES_A_POSITION_ON_A_GPU", 1.01 * enough)
    assert not joined()
    monkeypatch.setattr(shared_pass, "BYTES_A_POSITION_ON_A_GPU", 0.99 * enough)
    assert joined()
    monkeypatch.setattr(shared_pass, "MOST_LOGITS_ON_A_GPU", 0)
    assert not joined()


def test_many_rows_are_read_apart_and_one_task_is_done_before_the_other_begins() -> None:
    assert passes(tiny.batch([0]), tiny.batch([0])) == "FB"
    assert passes(tiny.batch([0] * 20), tiny.batch([0] * 20)) == "FBFB"


def test_processes_that_share_a_model_make_the_same_passes_whatever_rows_each_has() -> None:
    sharded = replace(tiny.COMPUTE, sharded=True)
    assert passes(tiny.batch([0]), tiny.batch([0]), sharded) == "FBFB"


def test_a_joined_batch_is_what_its_rows_make_together() -> None:
    made = together([tiny.batch(RETAIN), tiny.batch(FORGET)])
    rows = [*RETAIN, *FORGET]
    expected = collate([tiny.examples()[row] for row in rows], rows, tiny.PAD)
    real = expected.attention_mask.bool()
    assert torch.equal(made.input_ids[real], expected.input_ids[real])
    for name in ("attention_mask", "answer_mask", "rows", "owner", "columns"):
        assert torch.equal(getattr(made, name), getattr(expected, name)), name
    assert (made.answer_tokens, made.tokens) == (expected.answer_tokens, expected.tokens)
