"""METHODS.md 6: what the guard promises, over gradients of every size and angle."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor

from unlearn.errors import ConfigurationError
from unlearn.weightings import Guarded, NGDiff

SIZES = (1e-8, 1e-2, 1.0, 1e6)
ANGLES = (0.0, 0.3, math.pi / 2, 2.0, math.pi)
EXCESSES = (-1.0, 0.0, 0.01, 0.025, 0.049, 0.05, 0.2, 1e3)
FORGET = (-3.0, 0.0, 1e-3, 0.4, 4.0)
"""Forget losses after a first one of 4, but for the negative one of ascent."""


def gramian(retain: float, forget: float, angle: float) -> Tensor:
    """The Gramian of two minimised gradients of these norms with this angle between them."""
    product = retain * forget * math.cos(angle)
    return torch.tensor([[retain**2, product], [product, forget**2]], dtype=torch.float64)


def begun(first_forget: float = 4.0, slack: float = 0.05, fade: float = 0.5) -> Guarded:
    """A guard whose first step was at a retain loss of 1, which is the target's."""
    guard = Guarded(slack=slack, fade=fade)
    guard.expect(1.0)
    guard(gramian(1.0, 1.0, 1.0), torch.tensor([1.0, first_forget], dtype=torch.float64))
    return guard


CASES = list(itertools.product(SIZES, SIZES, ANGLES, EXCESSES, FORGET))


def test_retain_never_pays_to_first_order() -> None:
    """d·g_R ≥ 0, whatever the two gradients and losses are."""
    for retain, forget, angle, excess, loss in CASES:
        matrix = gramian(retain, forget, angle)
        w = torch.tensor(begun()(matrix, torch.tensor([1.0 + excess, loss])), dtype=torch.float64)
        assert (w @ matrix)[0] >= -1e-12 * retain


def test_the_forget_loss_falls_where_the_guard_lets_it() -> None:
    """d·g_F > 0 where s·φ > −max(φ, 1 − s)·cos θ, θ the angle of the minimised gradients."""
    seen = 0
    for retain, forget, angle, excess, loss in CASES:
        matrix = gramian(retain, forget, angle)
        w = torch.tensor(begun()(matrix, torch.tensor([1.0 + excess, loss])), dtype=torch.float64)
        safe = min(max((0.05 - excess) / 0.05, 0.0), 1.0)
        left = 1.0 if loss < 0 else math.sqrt(min(loss / 2.0, 1.0))
        if safe * left > -max(left, 1 - safe) * math.cos(angle) + 1e-9:
            assert (w @ matrix)[1] > 0
            seen += 1
    assert seen > 1000


@pytest.mark.parametrize("loss", [-3.0, 2.0, 4.0, 9.0])
def test_far_from_the_bound_and_the_end_it_is_ngdiff(loss: float) -> None:
    for retain, forget, angle in itertools.product(SIZES, SIZES, ANGLES):
        matrix, losses = gramian(retain, forget, angle), torch.tensor([0.9, loss])
        assert begun()(matrix, losses) == NGDiff()(matrix, losses)


@pytest.mark.parametrize("excess", [0.05, 0.06, 10.0])
def test_at_the_bound_it_repairs_alone(excess: float) -> None:
    losses = torch.tensor([1.0 + excess, 4.0], dtype=torch.float64)
    assert begun()(gramian(2.0, 5.0, 1.0), losses) == (pytest.approx(0.5), 0.0)


def test_the_forget_part_shrinks_linearly_on_the_way_to_the_bound() -> None:
    shares = []
    for excess in (0.0, 0.0125, 0.025, 0.0375):
        losses = torch.tensor([1.0 + excess, 4.0], dtype=torch.float64)
        shares.append(begun()(gramian(1.0, 1.0, 2.0), losses)[1])
    assert shares == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_the_step_shrinks_with_what_is_left_to_forget() -> None:
    for left in (0.75, 0.5, 0.25, 0.0):
        losses = torch.tensor([1.0, 2.0 * left**2], dtype=torch.float64)
        assert begun()(gramian(1.0, 1.0, 2.0), losses) == pytest.approx((left, left))
    losses = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert begun(fade=0.0)(gramian(1.0, 1.0, 2.0), losses) == (1.0, 1.0)


def test_the_bound_is_that_of_the_rows_of_the_step() -> None:
    """A batch of hard rows is no damage: it was as hard for the target."""
    guard = begun()
    guard.expect(3.0)
    losses = torch.tensor([3.01, 4.0], dtype=torch.float64)
    assert guard(gramian(1.0, 1.0, 2.0), losses)[1] == pytest.approx(0.8)
    guard.expect(None)  # nobody knows the target's: the first step's counts
    losses = torch.tensor([1.01, 4.0], dtype=torch.float64)
    assert guard(gramian(1.0, 1.0, 2.0), losses)[1] == pytest.approx(0.8)


@pytest.mark.parametrize(("retain", "forget"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_a_gradient_of_zero_has_no_weight(retain: float, forget: float) -> None:
    losses = torch.tensor([1.0, 4.0], dtype=torch.float64)
    weights = begun()(gramian(retain, forget, 1.0), losses)
    assert weights == (retain, forget)


def test_it_goes_on_from_its_state() -> None:
    first, second = begun(first_forget=7.0), Guarded()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for guard in (first, second):
        guard.expect(1.0)
    losses = torch.tensor([1.02, 2.0], dtype=torch.float64)
    assert first(gramian(1.0, 2.0, 2.0), losses) == second(gramian(1.0, 2.0, 2.0), losses)


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Guarded(slack=0.0, fade=1.5)
    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "slack: 0.0",
        "fade: 1.5",
    ]
