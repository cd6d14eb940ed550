"""Rows one behind the other: the values of the batch to the bit, and never a product of padding."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers
from support import tiny
from support.architectures import counted_tokens, other_model, with_window
from torch import Tensor

from benchmarks.architectures import ARCHITECTURES, random_model
from benchmarks.models import TEMPLATES, tokenizer_with
from unlearn.compute.checkpointing import recompute_activations
from unlearn.compute.model import plain_output
from unlearn.console import once
from unlearn.data.batches import Batch, collate
from unlearn.data.tokens import Example
from unlearn.forward import packing
from unlearn.forward.answers import before_answer, hidden_states, inputs_of, reading
from unlearn.forward.chunks import answer_losses
from unlearn.forward.packing import is_packed

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own, of some architectures

PADDING_TOO = {
    "Bamba": "off by",
    "Bloom": "eager",
    "Falcon": "raises",
    "Falcon, ALiBi": "raises",
    "Falcon-H1": "off by",
    "FalconMamba": "eager",
    "GPT-J": "eager",
    "GPT-OSS": "eager",
    "Gemma-2": "eager",
    "GPT-Neo, window of 16": "eager",
    "Jamba": "off by",
    "MPT": "eager",
    "Mamba": "eager",
    "Mamba-2": "eager",
    "RWKV": "eager",
    "RecurrentGemma": "off by",
    "xLSTM": "eager",
}
"""Architectures that read padding as before, and a word of why."""


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is known of any model, and nothing was said."""
    monkeypatch.setattr(packing, "_compared", {})
    monkeypatch.setattr(once, "said", set())
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    yield
    transformers.logging.set_verbosity(level)


def batch_of(lengths: list[tuple[int, int]], entries: int) -> Batch:
    """Random rows of so many prompt and answer tokens."""
    draw = torch.Generator().manual_seed(0)
    rows = []
    for prompt, answer in lengths:
        ids = torch.randint(5, entries, (prompt + answer,), generator=draw).tolist()
        rows.append(Example(tuple(ids[:prompt]), tuple(ids[prompt:])))
    return collate(rows, range(len(rows)))


def uneven(entries: int) -> Batch:
    """Rows within a window of 16, of which no two are equally long."""
    return batch_of([(9, 6), (4, 7), (1, 8), (2, 1)], entries)


def gradient_of(model: Any, values: Tensor) -> Tensor:
    found = torch.autograd.grad(values, list(model.parameters()), allow_unused=True)
    return tiny.flat([one for one in found if one is not None])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_values_are_those_of_the_batch(name: str, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = tokenizer_with(next(iter(TEMPLATES.values())))
    model, batch = random_model(name, tokenizer), uneven(len(tokenizer))
    with caplog.at_level(logging.INFO, packing.__name__):
        inputs, places = reading(model, batch)
    if name in PADDING_TOO:
        assert inputs["input_ids"].shape == batch.input_ids.shape
        assert "reads the padding of a batch as well" in caplog.text
        assert PADDING_TOO[name] in caplog.text
        return
    assert not caplog.text
    assert inputs["input_ids"].shape == (1, batch.tokens)
    options = {"use_cache": False, **plain_output(model)}
    found = model(**inputs, **options).logits[places]
    expected = model(**inputs_of(batch), **options).logits[before_answer(batch)]
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
    pair = (gradient_of(model, logits.logsumexp(1).sum()) for logits in (found, expected))
    assert tiny.relative_error(*pair) < 2e-6  # attention in as many lanes adds in another order


@tiny.every_architecture
def test_losses_and_gradients_in_float64(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = tiny.moved(architecture), tiny.batch(range(len(tiny.ROWS)))

    def found() -> list[Tensor]:
        losses, _ = answer_losses(model, batch)
        states = hidden_states(model, batch, 1)
        return [losses, states, gradient_of(model, losses.sum() + states.square().sum())]

    assert is_packed(model, batch) == (architecture != "falcon")
    made = found()
    monkeypatch.setattr(packing, "MOST_REAL", 0.0)
    assert not is_packed(model, batch)
    for one, other in zip(made, found(), strict=True):
        assert tiny.relative_error(one, other) < 1e-13


def test_no_padding_enters_the_model() -> None:
    model, batch = tiny.model(), tiny.batch(range(len(tiny.ROWS)))
    assert batch.tokens < batch.input_ids.numel()
    assert is_packed(model, batch)
    with counted_tokens(model) as calls:
        answer_losses(model, batch)
    assert calls == [batch.tokens]


def test_in_16_bits_a_row_has_one_of_few_lengths() -> None:
    model, batch = tiny.model(), tiny.batch(range(len(tiny.ROWS)))
    alone = answer_losses(model, batch)[0]
    with torch.autocast("cpu", torch.bfloat16), counted_tokens(model) as calls:
        losses = answer_losses(model, batch)[0]
    assert calls == [-(-batch.tokens // packing.MULTIPLE) * packing.MULTIPLE]
    assert calls[0] != batch.tokens
    torch.testing.assert_close(losses.float(), alone, rtol=0.05, atol=0.05)


def test_rows_of_one_length_stay_a_batch() -> None:
    assert not is_packed(tiny.model(), tiny.batch([0, 0]))
    assert not is_packed(tiny.model(), tiny.batch([0]))


def test_a_gpu_reads_padding_where_it_has_little_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of a tensor, tokens of all rows: a model of many weights has enough to do earlier."""
    model, batch = tiny.model(), tiny.batch(range(len(tiny.ROWS)))
    packing.compare_rows(model)
    assert is_packed(model, batch)
    tiny.says_gpu(model, monkeypatch)
    assert not is_packed(model, batch)
    sizes = [parameter.numel() for parameter in model.parameters()]
    work = batch.tokens * sum(sizes) / len(sizes)
    monkeypatch.setattr(packing, "LEAST_ON_A_GPU", 1.01 * work)
    assert not is_packed(model, batch)
    monkeypatch.setattr(packing, "LEAST_ON_A_GPU", 0.99 * work)
    assert is_packed(model, batch)


def test_rows_beyond_a_window_are_read_as_they_were(caplog: pytest.LogCaptureFixture) -> None:
    model, entries = with_window(16), len(tiny.tokenizer())
    with caplog.at_level(logging.INFO, packing.__name__):
        assert is_packed(model, uneven(entries))
        assert not caplog.text
        assert not is_packed(model, batch_of([(9, 8), (4, 4)], entries))
    assert "rows are longer than its window of 16 tokens" in caplog.text


def test_a_recomputed_layer_reads_the_same_layout() -> None:
    model, batch = tiny.model(), tiny.batch(range(len(tiny.ROWS)))
    expected = gradient_of(model, answer_losses(model, batch)[0].sum())
    recompute_activations(model)
    assert is_packed(model, batch)
    found = gradient_of(model, answer_losses(model, batch)[0].sum())
    assert tiny.relative_error(found, expected) < 1e-6


def test_a_model_that_draws_is_compared_without_drawing() -> None:
    config = transformers.GPT2Config(
        **tiny.vocabulary(), n_embd=32, n_layer=2, n_head=2, resid_pdrop=0.5
    )
    model = other_model(config).train()
    assert is_packed(model, uneven(len(tiny.tokenizer())))
    assert model.training and model.transformer.h[0].mlp.dropout.training


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_16_bits_are_compared_coarsely_and_for_what_a_row_carries_on(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batch = tiny.batch([0, 1])
    assert is_packed(tiny.model().to(dtype), batch)
    tokenizer = tokenizer_with(next(iter(TEMPLATES.values())))
    jamba = random_model("Jamba", tokenizer)
    monkeypatch.setattr(packing, "COARSE", 10.0)
    with caplog.at_level(logging.INFO, packing.__name__):
        assert not is_packed(jamba.to(dtype), batch)
    assert "what stands before a row changes its logits" in caplog.text


def test_models_of_one_configuration_are_compared_once() -> None:
    batch = tiny.batch(range(len(tiny.ROWS)))
    model, target = tiny.model(), tiny.model(seed=1)
    with counted_tokens(model) as calls, counted_tokens(target) as of_target:
        assert is_packed(model, batch) and is_packed(target, batch)
    assert len(calls) == 3 and not of_target


class OfItsOwn(transformers.LlamaForCausalLM):
    """A model whose own pass wants as many rows as there are questions."""

    def forward(self, input_ids: Tensor, **options: Any) -> Any:
        if len(input_ids) == 1:
            raise ValueError("one row")
        return super().forward(input_ids=input_ids, **options)


def test_what_is_known_of_a_class_is_not_taken_for_another_of_its_configuration() -> None:
    batch, model = tiny.batch(range(len(tiny.ROWS))), tiny.model()
    assert is_packed(model, batch)
    assert not is_packed(OfItsOwn(model.config).eval(), batch)


def test_a_layout_says_rows_and_columns_and_takes_no_memory() -> None:
    batch = tiny.batch(range(len(tiny.ROWS)))
    read = packing.packed(tiny.model(), batch)
    layout = read["attention_mask"]
    rows, columns = batch.input_ids.shape
    wide = -(-columns // packing.LANES) * packing.LANES
    assert layout.shape == (rows, wide, 1, batch.tokens)
    assert layout.untyped_storage().nbytes() <= 8 * batch.input_ids.numel()
    ids = torch.full((rows * wide,), -1)
    ids[layout[0, 0, 0]] = read["input_ids"][0]
    mask = batch.attention_mask.bool()
    assert torch.equal(ids.view(rows, wide)[:, :columns][mask], batch.input_ids[mask])
    assert int((ids == -1).sum()) == rows * wide - batch.tokens


def test_another_mask_goes_to_the_attention_of_transformers() -> None:
    """What this package teaches `sdpa` changes nothing for whoever calls the model besides."""
    model, batch = tiny.model(), tiny.batch(range(len(tiny.ROWS)))
    options = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    before = model(**options).logits
    assert is_packed(model, batch)
    assert torch.equal(model(**options).logits, before)


def test_padding_may_hold_any_ids() -> None:
    model, batch = tiny.model(), tiny.batch(range(len(tiny.ROWS)))
    other = tiny.wider(batch, 7, 3)
    assert torch.equal(answer_losses(model, other)[0], answer_losses(model, batch)[0])
