"""Recomputed activations save memory and change no number, whatever an architecture draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny

from benchmarks.architectures import ARCHITECTURES, random_model
from unlearn.compute.checkpointing import Recomputed, recompute_activations
from unlearn.compute.undisturbed import in_evaluation_mode
from unlearn.errors import ConfigurationError
from unlearn.forward.chunks import answer_losses
from unlearn.models.load import ready
from unlearn.options.schema import ModelConfig

DRAWING = {
    "Starcoder2": {"residual_dropout": 0.5, "embedding_dropout": 0.5},
    "Falcon": {"hidden_dropout": 0.5, "attention_dropout": 0.5},
    "OPT": {"layerdrop": 0.5, "dropout": 0.5},
    "Mixtral": {"router_jitter_noise": 0.5},
    "GPT-2": {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5},
    "Bloom": {"hidden_dropout": 0.5},
}
"""Architecture → what it draws in training mode, under its own names."""


def prepared(name: str, checkpointing: bool) -> Any:
    """The model as a run trains it."""
    model = random_model(name, tiny.tokenizer(), **DRAWING.get(name, {}))
    return ready(model, ModelConfig(gradient_checkpointing=checkpointing), tiny.COMPUTE)


def losses_and_gradient(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Two passes of one batch, and the gradient of the second."""
    passes = [answer_losses(model, tiny.batch(range(4)))[0] for _ in range(2)]
    gradient = torch.autograd.grad(passes[1].mean(), tiny.parameters(model), allow_unused=True)
    return torch.stack(passes).detach(), tiny.flat(list(gradient))


@pytest.mark.parametrize("name", DRAWING)
def test_what_is_drawn_in_training_changes_nothing(name: str) -> None:
    plain, gradient = losses_and_gradient(prepared(name, checkpointing=False))
    model = prepared(name, checkpointing=True)
    recomputed, of_recomputed = losses_and_gradient(model)
    torch.testing.assert_close(recomputed, plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(of_recomputed, gradient, rtol=1e-4, atol=1e-6)
    with in_evaluation_mode(model):
        evaluated, _ = losses_and_gradient(model)
    torch.testing.assert_close(evaluated, plain, rtol=1e-5, atol=1e-6)


def calls(model: Any) -> list[Recomputed]:
    functions = (vars(module).get("_gradient_checkpointing_func") for module in model.modules())
    return [function for function in functions if isinstance(function, Recomputed)]


@pytest.mark.parametrize("name", ["Llama", "Starcoder2", "Gemma-2", "Mamba"])
def test_every_layer_is_recomputed_and_only_where_it_learns(name: str) -> None:
    model = prepared(name, checkpointing=True)
    layers = calls(model)
    assert len(layers) == model.config.num_hidden_layers
    before = [call.times for call in layers]
    losses_and_gradient(model)
    assert [call.times for call in layers] == [times + 2 for times in before]
    with in_evaluation_mode(model), torch.no_grad():
        answer_losses(model, tiny.batch(range(4)))
    assert [call.times for call in layers] == [times + 2 for times in before]
    losses_and_gradient(model)  # the flags are back as they were
    assert [call.times for call in layers] == [times + 4 for times in before]


def test_a_model_that_cannot_recompute_is_refused() -> None:
    model = random_model("Llama", tiny.tokenizer())
    model.supports_gradient_checkpointing = False
    with pytest.raises(ConfigurationError, match=r"gradient_checkpointing: true.*leave it out"):
        recompute_activations(model)


def test_a_model_with_other_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that draws where nobody can switch it off."""
    model = random_model("Llama", tiny.tokenizer())
    norm = model.model.norm
    whole = norm.forward
    monkeypatch.setattr(norm, "forward", lambda hidden: whole(hidden) * torch.rand(()))
    with torch.random.fork_rng(), pytest.raises(ConfigurationError, match="other numbers"):
        recompute_activations(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_trains_as_it_is_measured_or_is_refused(name: str) -> None:
    try:
        model = prepared(name, checkpointing=True)
    except ConfigurationError as error:
        assert str(error).startswith("model.gradient_checkpointing: true")
        return
    plain, gradient = losses_and_gradient(prepared(name, checkpointing=False))
    recomputed, of_recomputed = losses_and_gradient(model)
    torch.testing.assert_close(recomputed, plain, rtol=1e-4, atol=1e-5)
    assert tiny.relative_error(of_recomputed, gradient) < 1e-4
