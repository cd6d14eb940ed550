"""METHODS.md 3: token NLL and ascent against transformers' own loss, and the forward pass below."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support import tiny
from support.tiny import every_architecture
from torch import Tensor

from unlearn.data.batches import Batch
from unlearn.forward.answers import answer_logits
from unlearn.forward.chunks import answer_losses
from unlearn.objectives import Ascent, NegativeLogLikelihood

ROWS = range(len(tiny.ROWS))


def labels_of(batch: Batch) -> Tensor:
    """What transformers' loss expects: −100 wherever no answer token stands."""
    return batch.input_ids.masked_fill(~batch.answer_mask, -100)


def all_logits(model: Any, batch: Batch) -> Tensor:
    """Logits (B, T, V) of a forward pass that nobody interferes with."""
    return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits


def losses_by_row(model: Any, batch: Batch) -> dict[int, list[float]]:
    """The losses of each row's answer tokens, in order."""
    losses, owner = answer_losses(model, batch)
    return {
        row: losses[owner == position].tolist() for position, row in enumerate(batch.rows.tolist())
    }


# The forward pass


@every_architecture
def test_the_logits_are_those_that_predict_the_answers_in_order(architecture: str) -> None:
    model, batch = tiny.model(architecture), tiny.batch(ROWS)
    logits, labels, owner = answer_logits(model, batch)
    full = all_logits(model, batch)

    expected_logits, expected_labels, expected_owner = [], [], []
    for position, row in enumerate(batch.rows.tolist()):
        example = tiny.examples()[row]
        first = len(example.prompt)
        expected_logits.append(full[position, first - 1 : len(example) - 1])
        expected_labels += example.answer
        expected_owner += [position] * len(example.answer)

    assert labels.tolist() == expected_labels
    assert owner.tolist() == expected_owner
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, torch.cat(expected_logits), rtol=1e-5, atol=1e-5)


@every_architecture
def test_the_output_layer_sees_answer_positions_only(architecture: str) -> None:
    model, batch = tiny.model(architecture), tiny.batch(ROWS)
    seen = []
    model.get_output_embeddings().register_forward_hook(
        lambda _module, inputs, _output: seen.append(inputs[0].shape[:-1].numel())
    )
    answer_logits(model, batch)
    assert seen == [batch.answer_tokens]


def test_the_model_is_left_as_it_was() -> None:
    model, batch = tiny.model(), tiny.batch(ROWS)
    before = all_logits(model, batch)
    answer_logits(model, batch)
    assert torch.equal(all_logits(model, batch), before)

    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    failing = model.model.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        answer_logits(model, batch)
    failing.remove()
    assert torch.equal(all_logits(model, batch), before)


# The objectives


@every_architecture
def test_the_sum_is_transformers_own_loss_times_the_tokens(architecture: str) -> None:
    model, batch = tiny.model(architecture), tiny.batch(ROWS)
    mean = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels_of(batch)
    ).loss
    objective = NegativeLogLikelihood()
    tokens = sum(len(example.answer) for example in tiny.examples())
    assert objective.count(batch) == tokens
    assert objective.sum(model, batch).item() == pytest.approx(mean.item() * tokens, rel=1e-6)


def test_ascent_is_minus_the_nll_in_loss_and_gradient() -> None:
    model, batch = tiny.model(), tiny.batch(ROWS)
    assert Ascent().count(batch) == NegativeLogLikelihood().count(batch)
    gradients = []
    losses = []
    for objective in (NegativeLogLikelihood(), Ascent()):
        loss = objective.sum(model, batch)
        losses.append(loss.item())
        gradients.append(torch.autograd.grad(loss, tiny.parameters(model)))
    assert losses[1] == -losses[0]
    for nll, ascent in zip(*gradients, strict=True):
        assert torch.equal(ascent, -nll)


@pytest.mark.parametrize("objective", [NegativeLogLikelihood(), Ascent()])
def test_a_sum_has_a_gradient_and_is_a_float32_scalar(objective: NegativeLogLikelihood) -> None:
    loss = objective.sum(tiny.model(), tiny.batch(ROWS))
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert loss.requires_grad


@every_architecture
def test_neither_padding_nor_the_order_of_rows_changes_a_loss(architecture: str) -> None:
    model = tiny.model(architecture)
    alone = {row: losses_by_row(model, tiny.batch([row]))[row] for row in ROWS}
    end = tiny.tokenizer().eos_token_id
    shuffled = [5, 2, 7, 0, 3, 6, 1, 4]
    batches = {
        "all rows": tiny.batch(ROWS),
        "another order": tiny.batch(shuffled),
        "padded with the end token": tiny.batch(ROWS, pad=end),
        "padded further, with other ids": tiny.wider(tiny.batch(shuffled), 17, pad=5),
    }
    for name, batch in batches.items():
        together = losses_by_row(model, batch)
        for row in ROWS:
            # Near 0 a NLL is a difference of numbers near 10, good to their rounding.
            assert together[row] == pytest.approx(alone[row], rel=1e-6, abs=5e-6), (name, row)
        total = sum(sum(losses) for losses in alone.values())
        assert NegativeLogLikelihood().sum(model, batch).item() == pytest.approx(total, rel=1e-6)
        assert Ascent().sum(model, batch).item() == pytest.approx(-total, rel=1e-6)


@pytest.mark.parametrize("architecture", ["gpt2", "falcon"])  # Llama's norms are always float32
def test_the_gradient_agrees_with_finite_differences(architecture: str) -> None:
    """Differences in float64, of a loss that is written here once more from the definition."""
    model, batch = tiny.model(architecture, dtype=torch.float64), tiny.batch(ROWS)
    labels = labels_of(batch)

    @torch.no_grad()
    def loss() -> float:
        logits = all_logits(model, batch)[:, :-1]
        return F.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), reduction="sum"
        ).item()

    NegativeLogLikelihood().sum(model, batch).backward()
    largest = max(p.grad.abs().max().item() for p in tiny.parameters(model))
    step = 1e-5
    for parameter in tiny.parameters(model)[::3]:
        gradient = parameter.grad.reshape(-1)
        values = parameter.data.view(-1)
        for place in (gradient.abs().argmax().item(), 3):
            value = values[place].item()
            values[place] = value + step
            above = loss()
            values[place] = value - step
            below = loss()
            values[place] = value
            difference = (above - below) / (2 * step)
            # The objective's losses are float32 even where the model is float64.
            assert gradient[place].item() == pytest.approx(difference, rel=1e-5, abs=1e-6 * largest)
