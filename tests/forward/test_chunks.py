"""Losses of tokens chunk by chunk: the same values and gradients, and never all logits at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support import tiny
from support.architectures import other_model
from support.output_layers import ENTRIES, FINISHED, Widest
from torch import Tensor

from unlearn.forward import chunks, output_layer
from unlearn.forward.chunks import answer_losses, is_cut
from unlearn.forward.packing import compare_rows
from unlearn.forward.sum_in_chunks import OutputLayer, nll_sum_in_chunks
from unlearn.objectives.base import Objective
from unlearn.objectives.bounded_ascent import BoundedAscent
from unlearn.objectives.ce_u import CEU
from unlearn.objectives.jensen_shannon import JensenShannon
from unlearn.objectives.kl import KullbackLeibler
from unlearn.objectives.max_entropy import MaximumEntropy
from unlearn.objectives.nll import NegativeLogLikelihood
from unlearn.objectives.undial import UNDIAL

ROWS = range(len(tiny.ROWS))
CHUNK = 3
"""Tokens of a chunk in these tests."""


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make every batch too large for its logits, once it is called."""

    def lower() -> None:
        monkeypatch.setattr(chunks, "WHOLE", 0)
        monkeypatch.setattr(chunks, "WHOLE_SUM", 0)
        monkeypatch.setattr(chunks, "CHUNK", CHUNK * ENTRIES)
        monkeypatch.setattr(chunks, "SUM", CHUNK * ENTRIES * 4)

    return lower


def objectives(target: Any) -> list[Objective]:
    kl, undial, bounded = KullbackLeibler(), UNDIAL(beta=2.0), BoundedAscent(3.0, 0.5, 0.4)
    divergence = JensenShannon()
    kl.reference = undial.reference = bounded.target = divergence.reference = target
    longest = max(len(example.answer) for example in tiny.examples())
    draw = torch.Generator().manual_seed(0)
    bounded.token_levels = 1 + torch.rand(len(ROWS), longest, generator=draw)
    bounded.levels = None
    return [NegativeLogLikelihood(), CEU(), MaximumEntropy(), kl, divergence, undial, bounded]


def value_and_gradient(objective: Objective, model: Any) -> tuple[Tensor, list[Tensor]]:
    value = objective.sum(model, tiny.batch(ROWS))
    found = torch.autograd.grad(value, tiny.parameters(model), allow_unused=True)
    return value.detach(), [part for part in found if part is not None]


def differences(model: Any, target: Any, cut: Callable[[], None]) -> dict[str, float]:
    """How far the chunked value and gradient of every objective are from the whole ones."""
    every = objectives(target)
    whole = [value_and_gradient(objective, model) for objective in every]
    cut()
    assert is_cut(model, tiny.batch(ROWS))
    assert is_cut(target, tiny.batch(ROWS))
    found = {}
    for objective, (value, gradient) in zip(every, whole, strict=True):
        in_chunks, parts = value_and_gradient(objective, model)
        assert len(parts) == len(gradient) > 0
        worst = max(
            tiny.relative_error(torch.stack([in_chunks]), torch.stack([value])),
            tiny.relative_error(tiny.flat(list(parts)), tiny.flat(list(gradient))),
        )
        found[type(objective).__name__] = worst
    return found


@tiny.every_architecture
def test_every_objective_has_its_value_and_gradient_in_float64(
    architecture: str, cut: Callable[[], None]
) -> None:
    target = tiny.model(architecture, dtype=torch.float64)
    found = differences(tiny.moved(architecture), target, cut)
    assert {name: worst for name, worst in found.items() if worst > 1e-11} == {}


@pytest.mark.parametrize("kind", FINISHED)
def test_what_an_architecture_does_to_its_logits_is_kept(
    kind: str, cut: Callable[[], None]
) -> None:
    model = other_model(FINISHED[kind](), "eager").double()
    target = other_model(FINISHED[kind](), "eager").double()
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.mul_(1.05)
    found = differences(model, target, cut)
    assert {name: worst for name, worst in found.items() if worst > 1e-11} == {}


def test_no_tensor_holds_more_than_a_chunk_forward_and_backward(cut: Callable[[], None]) -> None:
    model, target = tiny.model(), tiny.model(seed=1)
    answers = tiny.batch(ROWS).answer_tokens
    every = objectives(target)
    compare_rows(model)  # is tried once, with the logits of two rows
    with Widest(model.config.hidden_size) as before:
        value_and_gradient(every[0], model)
    assert before.tokens == answers > 10 * CHUNK
    cut()
    assert is_cut(model, tiny.batch(ROWS))
    assert is_cut(target, tiny.batch(ROWS))
    for objective in every:
        with Widest(model.config.hidden_size) as widest:
            value_and_gradient(objective, model)
        assert 0 < widest.tokens <= CHUNK, type(objective).__name__


def test_a_sum_is_cut_before_what_is_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model, nll = tiny.model(), NegativeLogLikelihood()
    value, gradient = value_and_gradient(nll, model)
    monkeypatch.setattr(chunks, "WHOLE_SUM", 0)
    monkeypatch.setattr(chunks, "SUM", CHUNK * ENTRIES * 4)
    assert is_cut(model, tiny.batch(ROWS), only_sum=True)
    assert not is_cut(model, tiny.batch(ROWS))
    with Widest(model.config.hidden_size) as widest:
        again, parts = value_and_gradient(nll, model)
    assert widest.tokens <= CHUNK
    assert tiny.relative_error(again[None], value[None]) < 1e-6
    assert tiny.relative_error(tiny.flat(parts), tiny.flat(gradient)) < 1e-5


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tokens", [1, 4, 11, 100])
def test_a_sum_in_chunks_has_the_value_and_gradient_of_whole_logits(
    tokens: int, bias: bool
) -> None:
    """In float64, where the two may differ by rounding alone."""
    draw = torch.Generator().manual_seed(tokens)
    states, weights, b = (
        torch.randn(shape, dtype=torch.float64, generator=draw, requires_grad=True)
        for shape in ((11, 6), (23, 6), (23,))
    )
    labels = torch.randint(23, (11,), generator=draw)
    asked = [states, weights, b] if bias else [states, weights]
    logits = torch.nn.functional.linear(states, weights, b if bias else None)
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    layer = OutputLayer(weights, b if bias else None, torch.float64, tokens)
    found = nll_sum_in_chunks(states, layer, labels)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-14)
    one, other = (torch.autograd.grad(-0.3 * value, asked) for value in (found, expected))
    assert tiny.relative_error(tiny.flat(one), tiny.flat(other)) < 1e-14
    with torch.no_grad():
        assert torch.equal(nll_sum_in_chunks(states, layer, labels), found)
    twice = nll_sum_in_chunks(states, layer, labels)
    torch.autograd.grad(twice, asked, retain_graph=True)
    with pytest.raises(RuntimeError, match="there once"):
        torch.autograd.grad(twice, asked)


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@tiny.every_architecture
def test_in_16_bits_a_sum_in_chunks_rounds_as_one_of_whole_logits(
    architecture: str, weights: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an autocast, or of weights in bfloat16."""
    model, nll = tiny.model(architecture).to(weights), NegativeLogLikelihood()
    batch = tiny.batch(ROWS)
    compute = tiny.BFLOAT16 if weights == torch.float32 else tiny.COMPUTE
    with compute.autocast:
        value, gradient = value_and_gradient(nll, model)
        monkeypatch.setattr(chunks, "WHOLE_SUM", 0)
        monkeypatch.setattr(chunks, "SUM", CHUNK * ENTRIES * 2)
        assert is_cut(model, batch, only_sum=True)
        with Widest(model.config.hidden_size) as widest:
            again, parts = value_and_gradient(nll, model)
    assert widest.tokens <= CHUNK
    assert tiny.relative_error(again[None], value[None]) < 1e-6
    assert tiny.relative_error(tiny.flat(parts), tiny.flat(gradient)) < 5e-3


def test_logits_that_are_made_in_an_unknown_way_stay_whole(
    cut: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = tiny.model(seed=2), tiny.batch(ROWS)
    losses, rows = answer_losses(model, batch)
    cut()
    monkeypatch.setattr(output_layer, "_known_finishes", lambda _config: [lambda raw: raw + 1])
    assert not is_cut(model, batch)
    again, owner = answer_losses(model, batch)
    assert torch.equal(again, losses)
    assert torch.equal(owner, rows)


def test_an_adapter_on_the_output_layer_keeps_the_logits_whole(cut: Callable[[], None]) -> None:
    model, batch = tiny.model(seed=3), tiny.batch(ROWS)
    cut()
    assert is_cut(model, batch)
    model.get_output_embeddings().lora_A = torch.nn.Parameter(torch.zeros(1))
    assert not is_cut(model, batch)


def test_a_small_batch_is_never_cut() -> None:
    assert not is_cut(tiny.model(), tiny.batch(ROWS))
