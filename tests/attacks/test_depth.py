"""The unlearning depth score against transformers' hidden states and a plain loop."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from support.attacked import FORGET, subject, taught
from torch import Tensor, nn

from unlearn.attacks import Depth, run_attacks
from unlearn.attacks.depth import lost_nats
from unlearn.metrics.unlearning_depth import depth_by_row

pytestmark = pytest.mark.trains


def blocks_of(model: Any) -> Any:
    return model.model.layers if hasattr(model, "model") else model.transformer.h


def hidden(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def states_by_hand(model: Any, ids: Tensor) -> list[Tensor]:
    """What every layer gives, at all positions."""
    states: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _m, _i, out: states.append(hidden(out)))
        for block in blocks_of(model)
    ]
    with torch.no_grad():
        model(ids)
    for hook in hooks:
        hook.remove()
    return states


def nll(model: Any, ids: Tensor, first: int) -> float:
    with torch.no_grad():
        logits = model(ids).logits[0, first:-1]
    return nn.functional.cross_entropy(logits, ids[0, first + 1 :]).item()


def nll_with(model: Any, ids: Tensor, first: int, layer: int, states: Tensor) -> float:
    """The same with one layer's states replaced, position by position."""

    def put(_module: Any, _inputs: Any, output: Any) -> Any:
        changed = hidden(output).clone()
        for place in range(first, ids.shape[1] - 1):
            changed[0, place] = states[0, place]
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    hook = blocks_of(model)[layer].register_forward_hook(put)
    try:
        return nll(model, ids, first)
    finally:
        hook.remove()


def by_hand(source: Any, original: Any) -> np.ndarray:
    """(layers, rows) nats a token, a row at a time."""
    found = np.zeros((2, len(FORGET)))
    for row in range(len(FORGET)):
        example = tiny.examples()[row]
        ids = torch.tensor([[*example.prompt, *example.answer]])
        first = len(example.prompt) - 1
        for layer, states in enumerate(states_by_hand(source, ids)):
            patched = nll_with(original, ids, first, layer, states)
            found[layer, row] = patched - nll(original, ids, first)
    return found


def uds(lost: np.ndarray, by_reference: np.ndarray, threshold: float) -> float:
    """The formula of the paper, in loops."""
    scores = []
    for row in range(lost.shape[1]):
        above, below = 0.0, 0.0
        for layer in range(lost.shape[0]):
            gap = by_reference[layer, row]
            if gap > threshold:
                above += gap * min(1.0, max(0.0, lost[layer, row] / gap))
                below += gap
        if below:
            scores.append(above / below)
    return sum(scores) / len(scores)


def between(one: Any, other: Any, share: float) -> Any:
    """A model whose weights lie between two."""
    mixed = copy.deepcopy(one)
    with torch.no_grad():
        for p, q in zip(mixed.parameters(), other.parameters(), strict=True):
            p.lerp_(q, share)
    return mixed


@tiny.every_architecture
def test_the_score_is_that_of_a_plain_loop(architecture: str) -> None:
    target, reference = taught(architecture), tiny.model(architecture, seed=6)
    model = between(target, reference, 0.2)
    under = subject(model, target, reference)
    lost, gap = by_hand(model, target), by_hand(reference, target)
    assert lost_nats(under, model, target) == pytest.approx(lost, abs=1e-4)
    found, notes = run_attacks({"d": Depth(threshold=0.1)}, under)
    wanted = uds(lost, gap, 0.1)
    assert 0.05 < wanted < 0.99
    assert found["attack/d_score"] == pytest.approx(wanted, abs=1e-4)
    assert found["attack/d"] == pytest.approx(1 - wanted, abs=1e-4)
    assert "5 of 5 rows" in notes[0]


@tiny.every_architecture
def test_the_target_is_at_0_and_the_reference_at_1(architecture: str) -> None:
    target, reference = taught(architecture), tiny.model(architecture, seed=6)
    scores = [
        run_attacks({"d": Depth()}, subject(copy.deepcopy(model), target, reference, stage))[0]
        for model, stage in ((target, "after"), (reference, "after"), (reference, "reference"))
    ]
    assert [found["attack/d_score"] for found in scores] == [0, 1, 1]
    assert [found["attack/d"] for found in scores] == [1, 0, 0]


def test_the_formula_on_random_tables() -> None:
    draw = np.random.default_rng(0)
    lost, gap = draw.normal(size=(4, 50)), draw.normal(size=(4, 50))
    rows = depth_by_row(lost, gap, 0.3)
    assert np.nanmean(rows) == pytest.approx(uds(lost, gap, 0.3))
    empty = (gap <= 0.3).all(axis=0)
    assert empty.any() and (np.isnan(rows) == empty).all()
    assert np.nanmin(rows) >= 0 and np.nanmax(rows) <= 1
    assert depth_by_row(gap, gap)[0] == 1
    assert (depth_by_row(np.zeros((4, 50)), np.abs(gap)) == 0).all()


def test_silence_at_the_output_is_not_depth() -> None:
    """The last layer's weights are pushed off; the layer below it knows all it knew."""
    target, reference = taught(), tiny.model(seed=6)
    shallow = copy.deepcopy(target)
    with torch.no_grad():
        shallow.model.layers[1].mlp.down_proj.weight.mul_(-3)
    found, _ = run_attacks({"d": Depth()}, subject(shallow, target, reference))
    lost = by_hand(shallow, target)
    assert (lost[0] == 0).all() and lost[1].mean() > 1
    assert 0.1 < found["attack/d"] < 0.9


def test_what_is_missing_is_said() -> None:
    model, target, stranger = tiny.model(), taught(), tiny.model(seed=6)
    for under, why in (
        (subject(model, target), "without a reference"),
        (subject(model, None, stranger), "without the model before unlearning"),
        (subject(model, target, taught()), "no layer does the reference lack"),
    ):
        found, notes = run_attacks({"d": Depth()}, under)
        assert found == {"attack/d": None, "attack/d_score": None}
        assert why in notes[0]
    other = subject(model, target, tiny.model("gpt2"))
    found, notes = run_attacks({"d": Depth()}, other)
    assert found["attack/d"] is not None or "not the same layers" in notes[0]
