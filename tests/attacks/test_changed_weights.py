"""Pruning and noise against torch's own pruning and a plain loop over the layers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from support import tiny
from support.attacked import RETAIN, forget_probability, subject, taught
from torch import Tensor, nn
from torch.nn.utils import prune

from unlearn.attacks import Noise, Pruning, run_attacks
from unlearn.attacks.noise import disturbed
from unlearn.attacks.pruning import without_smallest
from unlearn.attacks.rounding import linear_weights

pytestmark = pytest.mark.trains


def layers(model: Any) -> list[nn.Linear]:
    return [m for m in model.model.layers.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize("percent", [1, 10, 33, 99])
def test_pruning_is_torchs_own(percent: int) -> None:
    layer = nn.Linear(40, 17, bias=False)
    weight = torch.randn(17, 40, generator=torch.Generator().manual_seed(0))
    layer.weight.data = weight.clone()
    prune.l1_unstructured(layer, "weight", amount=17 * 40 * percent // 100)
    assert torch.equal(without_smallest(weight, percent), layer.weight.data)


def test_of_equal_weights_no_more_are_left_out_than_asked_for() -> None:
    assert without_smallest(torch.ones(4, 5), 30).eq(0).sum() == 6


def test_a_transposed_view_is_pruned_as_the_matrix_that_it_shows() -> None:
    weight = torch.randn(6, 9, generator=torch.Generator().manual_seed(1))
    pruned = without_smallest(weight.T, 50)
    assert (pruned == 0).sum() == 27
    assert pruned[pruned != 0].abs().min() >= weight.abs().flatten().median()


def by_hand(model: Any, change: Any) -> Any:
    changed = copy.deepcopy(model)
    for layer in layers(changed):
        layer.weight.data = change(layer.weight.data)
    return changed


def test_noise_is_as_strong_as_it_says_and_the_same_again() -> None:
    weight = torch.randn(200, 300, generator=torch.Generator().manual_seed(0)) * 0.3
    noise = disturbed(10, seed=4)(weight) - weight
    assert noise.std().item() == pytest.approx(0.1 * 0.3, rel=0.02)
    assert abs(noise.mean().item()) < 1e-3
    assert torch.equal(disturbed(10, seed=4)(weight) - weight, noise)
    assert not torch.equal(disturbed(10, seed=5)(weight) - weight, noise)
    add = disturbed(10, seed=4)
    assert not torch.equal(add(weight), add(weight)), "every layer has a noise of its own"
    assert disturbed(10, seed=4)(weight.bfloat16()).dtype is torch.bfloat16


@pytest.mark.parametrize("name", ["pruning", "noise"])
def test_what_is_scored_is_the_changed_model(name: str) -> None:
    model, target = tiny.model(seed=4), taught()
    attack = Pruning([20, 60]) if name == "pruning" else Noise([2, 20], seed=1)
    found, notes = run_attacks({"a": attack}, subject(model, target))
    best = 0.0
    for percent in attack.percent:
        if name == "pruning":

            def change(weight: Tensor, percent: int = percent) -> Tensor:
                cut = weight.abs().flatten().sort().values[weight.numel() * percent // 100]
                return torch.where(weight.abs() < cut, 0.0, weight)

            changed = by_hand(model, change)
        else:
            draw = torch.Generator().manual_seed(1)

            def change(weight: Tensor, percent: int = percent, draw: Any = draw) -> Tensor:
                noise = torch.randn(weight.shape, generator=draw)
                return weight + percent / 100 * weight.pow(2).mean().sqrt() * noise

            changed = by_hand(model, change)
        p = forget_probability(changed)
        best = max(best, p)
        assert found[f"attack/a_percent_{percent}_probability"] == pytest.approx(p, rel=1e-3)
        kept = forget_probability(changed, RETAIN)
        told = found[f"attack/a_percent_{percent}_retain_probability"]
        assert told == pytest.approx(kept, rel=1e-3)
    after, before = forget_probability(model), forget_probability(target)
    share = min(1.0, max(0.0, (best - after) / (before - after)))
    assert found["attack/a"] == pytest.approx(share, rel=1e-2, abs=1e-6)
    assert notes == []


def test_what_small_updates_hid_comes_back_when_they_are_pruned() -> None:
    """The target has gaps in its weights; unlearning filled them with small ones."""
    target, hidden = taught(), taught()
    draw = torch.Generator().manual_seed(1)
    for weight, other in zip(linear_weights(hidden), linear_weights(target), strict=True):
        other.copy_(without_smallest(other, 30))
        least = other[other != 0].abs().min()
        sign = torch.sign(torch.randn(weight.shape, generator=draw))
        weight.copy_(torch.where(other == 0, 0.99 * least * sign, other))
    found, _ = run_attacks({"p": Pruning([10, 30])}, subject(hidden, target))
    assert forget_probability(hidden) < forget_probability(target) - 0.02
    assert found["attack/p"] == pytest.approx(1.0, abs=1e-3)
