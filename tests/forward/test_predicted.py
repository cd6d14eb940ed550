"""Logits of a pass without gradient are made part by part: the same values, and never all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support import tiny
from support.architectures import other_model
from support.output_layers import ENTRIES, FINISHED, Widest
from torch import Tensor

from unlearn.compute.device import Compute
from unlearn.data.tokens import Example
from unlearn.evaluation.token_scores import Moments
from unlearn.forward import output_layer, predicted
from unlearn.forward.packing import compare_rows
from unlearn.forward.passes import Pass, Read
from unlearn.forward.predicted import largest, losses_and_choices, mean_losses
from unlearn.forward.trees import read_as_rows, read_by_mask, tree_of

TOKENS = 3
"""Tokens of a part in these tests."""
PROMPT, ANSWERS = (5, 6, 7), [(8, 9, 10, 11), (8, 9, 12), (13,), (8, 14, 15, 16, 17)]


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make every pass one of too many logits, once it is called with the bytes of one of them."""

    def lower(width: int) -> None:
        monkeypatch.setattr(predicted, "MULTIPLE", 1)
        monkeypatch.setattr(predicted, "ELEMENTS", 1)
        monkeypatch.setattr(predicted, "PART", TOKENS * ENTRIES * width)

    return lower


ways = pytest.mark.parametrize(
    "trees",
    [None, read_by_mask, read_as_rows],
    ids=["rows", "a tree by its mask", "a tree as rows"],
)


def seen(model: Any, compute: Compute, trees: Read | None) -> tuple[list[Tensor], int]:
    """Losses, choices and moments of all tokens, and how many tokens' logits were there at once."""
    if trees is not None:
        examples = [Example(PROMPT, answer) for answer in ANSWERS]
        part = Pass([*range(4)], [tree_of(PROMPT, ANSWERS)], trees)
    else:
        examples, part = [*tiny.examples()], Pass([3, 0, 5, 1], [])
    with Widest(model.config.hidden_size) as widest:
        found = part.run(model, examples, compute)
        tokens = torch.arange(len(found.labels))
        moments = Moments(found, tokens)
        values = losses_and_choices(found, moments.look)
        return [*values, *moments.values()], widest.tokens


@tiny.every_architecture
@ways
def test_parts_have_the_values_of_the_whole(
    architecture: str, trees: Read | None, cut: Callable[[int], None]
) -> None:
    if architecture == "falcon" and trees is read_as_rows:
        pytest.skip("its attention reads no layout")
    model = tiny.moved(architecture)
    compare_rows(model)
    whole, all_of_them = seen(model, tiny.COMPUTE, trees)
    cut(8)
    parts, most = seen(model, tiny.COMPUTE, trees)
    assert most <= TOKENS < all_of_them
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_losses_are_those_of_a_log_softmax_by_hand(cut: Callable[[int], None]) -> None:
    model, row = tiny.moved("llama"), 4
    example = tiny.examples()[row]
    ids = torch.tensor([[*example.prompt, *example.answer]])
    answers = len(example.answer)
    logits = model(input_ids=ids).logits[0, -answers - 1 : -1]
    expected = -logits.log_softmax(-1)[torch.arange(answers), ids[0, -answers:]]
    cut(8)
    found = Pass([row], []).run(model, [*tiny.examples()], tiny.COMPUTE)
    losses, choices = losses_and_choices(found)
    torch.testing.assert_close(losses, expected, rtol=1e-11, atol=1e-11)
    assert torch.equal(choices, logits.argmax(-1))
    assert mean_losses(found).item() == pytest.approx(expected.mean().item())


@tiny.every_architecture
@ways
def test_in_bfloat16_parts_are_cast_as_the_whole_is(
    architecture: str, trees: Read | None, cut: Callable[[int], None]
) -> None:
    if architecture == "falcon" and trees is read_as_rows:
        pytest.skip("its attention reads no layout")
    model = tiny.model(architecture)
    compare_rows(model)
    whole, _ = seen(model, tiny.BFLOAT16, trees)
    cut(2)
    parts, most = seen(model, tiny.BFLOAT16, trees)
    assert most <= TOKENS
    assert all(part.dtype == torch.float32 for part in (parts[0], *parts[2:]))
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("kind", FINISHED)
def test_what_an_architecture_does_to_its_logits_is_kept(
    kind: str, cut: Callable[[int], None]
) -> None:
    model = other_model(FINISHED[kind](), "eager").double()
    whole, _ = seen(model, tiny.COMPUTE, trees=None)
    cut(8)
    parts, most = seen(model, tiny.COMPUTE, trees=None)
    assert most <= TOKENS
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_logits_that_only_the_model_can_make_stay_whole(
    cut: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted, unknown = tiny.model(seed=3), tiny.model(seed=4)
    adapted.get_output_embeddings().lora_A = torch.nn.Parameter(torch.zeros(1))
    cut(4)
    monkeypatch.setattr(output_layer, "_known_finishes", lambda _config: [lambda raw: raw + 1])
    for model in (adapted, unknown):
        found, most = seen(model, tiny.COMPUTE, trees=read_by_mask)
        again, _ = seen(model, tiny.COMPUTE, trees=read_by_mask)
        assert most > TOKENS
        assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))


def test_logits_of_a_model_that_asks_its_output_layer_again_stay_whole(
    cut: Callable[[int], None],
) -> None:
    model = tiny.model(seed=5)
    compare_rows(model)
    expected, _ = seen(model, tiny.COMPUTE, trees=None)
    again = torch.zeros(1, 400, model.config.hidden_size)
    model.register_forward_hook(
        lambda *_: model.get_output_embeddings()(again).isnan().any() or None
    )
    cut(4)
    found, most = seen(model, tiny.COMPUTE, trees=None)
    assert most > TOKENS
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("entries", [5, 64, 127, 128, 200, 1000, 1024])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_largest_logit_is_the_first_of_those_that_are_as_large(
    entries: int, dtype: torch.dtype
) -> None:
    """With many that are; with one and none that is finite; as torch's own, also of NaN."""
    draw = torch.Generator().manual_seed(entries)
    logits = torch.randint(-9, 3, (300, entries), generator=draw).to(dtype)
    logits[0], logits[1], logits[2, entries // 2] = -torch.inf, -torch.inf, torch.inf
    logits[1, -1] = 0.0
    top, choice = largest(logits)
    expected = logits.max(-1)
    assert torch.equal(top, expected.values)
    assert torch.equal(choice, logits.argmax(-1))
    logits[:3, -1] = torch.nan
    assert largest(logits)[0][:3].isnan().all()
