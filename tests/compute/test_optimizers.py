"""optimizer=adamw is torch's, fused; adamw_8bit is it but for its moments, and loses no update."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from support.command import QUICK, Command
from torch import Tensor
from torch.nn import Parameter

from unlearn.compute import optimizers
from unlearn.compute.optimizers import adamw, adamw_8bit, rounds_stochastically
from unlearn.errors import ConfigurationError
from unlearn.schedulers.base import set_rate

WITHOUT = pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer=adamw_8bit"], "optimizer._target_: adamw_8bit needs torchao: pip install"),
        (["training.park_gradient=true"], "training.park_gradient: true, but the model is on"),
        (
            ["training.offload_activations=true"],
            "training.offload_activations: true, but the model",
        ),
        (
            ["model.dtype=bfloat16", "scheduler=constant"],
            "use optimizer=adamw_8bit of torchao, which rounds at random and loses none",
        ),
        (["model.dtype=bfloat16"], "scheduler: compares losses along the step"),
        (
            ["model.dtype=bfloat16", "method/interventions=[sam]"],
            "method.interventions.sam: moves the weights by less",
        ),
    ],
)


@WITHOUT
def test_what_would_lose_updates_or_save_nothing_is_refused(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.setattr(optimizers, "maker_8bit", lambda: None)
    monkeypatch.setattr("unlearn.models.prepare.load_base", None)  # no model may load
    done = unlearn(*QUICK, "model.device=cpu", *words)
    assert done.status == 2
    assert said in done.said


def test_without_a_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="torchao"):
        adamw_8bit([Parameter(torch.zeros(1))])
    assert not rounds_stochastically(partial(adamw_8bit))


def steps(optimizer: torch.optim.Optimizer, weight: Parameter, gradients: list[Tensor]) -> None:
    for gradient in gradients:
        weight.grad = gradient.clone()
        set_rate(optimizer, 1e-3)
        optimizer.step()


def test_the_fused_step_is_adamws_within_rounding_and_can_be_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(64, 128, generator=generator)
    gradients = [torch.randn(64, 128, generator=generator) for _ in range(10)]

    def after(**options: bool) -> tuple[Tensor, object]:
        weight = Parameter(start.clone())
        optimizer = adamw([weight], lr=1.0, eps=1e-8, weight_decay=0.1, **options)
        steps(optimizer, weight, gradients)
        return weight.detach(), optimizer.defaults["fused"]

    by_hand, first, second = start.double(), 0.0, 0.0  # Loshchilov & Hutter 2019, algorithm 2
    for number, gradient in enumerate(gradients, 1):
        by_hand = by_hand * (1 - 1e-3 * 0.1)
        first = 0.9 * first + 0.1 * gradient.double()
        second = 0.999 * second + 0.001 * gradient.double() ** 2
        corrected = (second / (1 - 0.999**number)) ** 0.5 + 1e-8
        by_hand = by_hand - 1e-3 * first / (1 - 0.9**number) / corrected
    weight, fused = after()
    assert fused
    torch.testing.assert_close(weight.double(), by_hand, rtol=1e-5, atol=1e-6)
    for options in ({"fused": False}, {"foreach": True}, {"foreach": False}):
        weight, fused = after(**options)
        assert not fused
        torch.testing.assert_close(weight.double(), by_hand, rtol=1e-5, atol=1e-6)
    elsewhere = Parameter(torch.zeros(1, device="meta"))
    assert not adamw([elsewhere]).defaults["fused"]


def test_eight_bits_step_as_thirty_two_do() -> None:
    pytest.importorskip("torchao", reason="needs the extra quantization")
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(64, 128, generator=generator)
    gradients = [torch.randn(64, 128, generator=generator) for _ in range(10)]
    ours, theirs = Parameter(start.clone()), Parameter(start.clone())
    optimizer = adamw_8bit([ours], lr=1.0)
    steps(optimizer, ours, gradients)
    steps(torch.optim.AdamW([theirs], lr=1.0, weight_decay=0.0), theirs, gradients)
    moved, expected = ours.detach() - start, theirs.detach() - start
    assert torch.cosine_similarity(moved.flatten(), expected.flatten(), dim=0) > 0.999
    kept = sum(
        part.numel() * part.element_size()
        for value in optimizer.state[ours].values()
        for part in (getattr(value, "codes", value), getattr(value, "scale", torch.zeros(0)))
    )
    assert kept / ours.numel() == pytest.approx(2.03, abs=0.01)


def test_no_update_of_bfloat16_is_lost() -> None:
    """Steps of a thirtieth of the distance of two numbers: on the nearest, all would be lost."""
    pytest.importorskip("torchao", reason="needs the extra quantization")
    torch.manual_seed(0)
    weight = Parameter(torch.full((256, 256), 1.0, dtype=torch.bfloat16))
    optimizer = adamw_8bit([weight], lr=2.0**-13)
    for _ in range(20):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    moved = 1 - weight.detach().float().mean().item()
    assert moved == pytest.approx(20 * 2.0**-13, rel=0.03)
