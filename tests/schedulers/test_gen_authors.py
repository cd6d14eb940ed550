"""METHODS.md 4: the authors' automatic rate on losses whose best rate is known.

The quadratic is L(w) = ½ wᵀHw − bᵀw + c. Along u = ∇L, the step of plain SGD, its parabola has the
slope u·u and the curvature uᵀHu, so that η* = u·u / uᵀHu.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from support.steps import (
    OPTIMIZERS,
    Quadratic,
    Told,
    begun,
    bits,
    line_loss,
    network,
    put_gradients,
    random_gradients,
    rate_after,
    taken,
    taken_plainly,
)
from torch.nn import Parameter
from torch.optim import SGD, AdamW, Optimizer

from unlearn.errors import ConfigurationError
from unlearn.schedulers import Constant, GenAuthors, Rate


def undamped(interval: int = 10) -> GenAuthors:
    """Neither damping nor limit: every rate is what the probe said."""
    return GenAuthors(interval, smooth=0.0, limit=None)


# Exact on a quadratic


@pytest.mark.parametrize("probed", [1e-3, 1e-2, 0.1, 1.0, 10.0, 1e3])
def test_one_probe_finds_the_best_rate_of_a_quadratic(probed: float) -> None:
    quadratic = Quadratic()
    best, start, gradient = quadratic.best_rate(), quadratic.at, quadratic.gradient
    optimizer = SGD(quadratic.parameters, lr=probed)
    rate = quadratic.step(begun(undamped(), probed), optimizer)
    assert rate.lr_star == pytest.approx(best, rel=1e-6)
    assert rate.lr == rate.lr_star
    torch.testing.assert_close(quadratic.at, start - rate.lr * gradient, rtol=1e-9, atol=1e-9)


def test_the_best_rate_along_another_direction_than_the_gradient() -> None:
    """The combined direction of two tasks is not the retain gradient."""
    quadratic = Quadratic(seed=3)
    direction = quadratic.gradient + 0.5 * Quadratic(seed=4).gradient
    best = quadratic.best_rate(direction)
    assert best > 0
    optimizer = SGD(quadratic.parameters, lr=0.2)
    rate = quadratic.step(begun(undamped(), 0.2), optimizer, direction=direction)
    assert rate.lr_star == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0, 1.5, 1.9])
def test_the_loss_falls_for_every_rate_below_twice_the_best(share: float) -> None:
    quadratic = Quadratic(seed=2)
    before, best = quadratic.loss(), quadratic.best_rate()
    quadratic.step(begun(Constant(), share * best), SGD(quadratic.parameters, lr=1.0))
    assert quadratic.loss() < before


def test_the_loss_rises_beyond_twice_the_best_rate() -> None:
    quadratic = Quadratic(seed=2)
    before, best = quadratic.loss(), quadratic.best_rate()
    quadratic.step(begun(Constant(), 2.1 * best), SGD(quadratic.parameters, lr=1.0))
    assert quadratic.loss() > before


def test_gen_goes_down_a_quadratic_like_exact_line_search() -> None:
    quadratic, oracle = Quadratic(seed=5), Quadratic(seed=5)
    scheduler = begun(undamped(interval=1), 7.0)
    optimizer = SGD(quadratic.parameters, lr=7.0)
    w = oracle.at
    for number in range(20):
        quadratic.step(scheduler, optimizer, number)
        g = oracle.hessian @ w - oracle.linear
        w = w - (g @ g) / (g @ oracle.hessian @ g) * g
    torch.testing.assert_close(quadratic.at, w, rtol=1e-6, atol=1e-8)


def concave(parameters: list[Parameter]) -> float:
    """A loss without a minimum in any direction."""
    return -0.5 * sum(p.detach().double().square().sum().item() for p in parameters)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_probe_without_a_minimum_ahead_leaves_the_plain_step_bit_by_bit(
    make: Callable[[list[Parameter]], Optimizer],
) -> None:
    scheduler = begun(GenAuthors(interval=1), 0.05)
    parameters, _, rates = taken(scheduler, make, 5, concave)
    plain, _ = taken_plainly(make, 5)
    assert [rate.reason for rate in rates] == ["no minimum ahead: kept"] * 5
    assert [rate.lr for rate in rates] == [0.05] * 5
    assert bits(parameters) == bits(plain)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_probe_that_is_not_finite_leaves_the_weights_as_they_were(
    make: Callable[[list[Parameter]], Optimizer], broken: float
) -> None:
    losses = iter([1.0, broken, 1.0])  # here, ahead, behind
    scheduler = begun(GenAuthors(), 0.05)
    parameters, _, rates = taken(scheduler, make, 1, lambda _: next(losses))
    assert bits(parameters) == bits(network())
    assert not rates[0].taken
    assert rates[0].reason == "not finite: step taken back"
    assert rates[0].lr == pytest.approx(0.005)


def test_weights_that_overflow_at_the_probe_never_stay() -> None:
    """The step itself reaches infinity: between there and the start no line leads back."""
    parameters = network()
    optimizer = SGD(parameters, lr=3e38)
    put_gradients(parameters, [torch.full_like(p, 100.0) for p in parameters])

    def loss() -> float:
        return sum(p.detach().square().sum().item() for p in parameters)

    rate = begun(GenAuthors(), 3e38).step(0, optimizer, parameters, Told(loss))
    assert not rate.taken
    assert bits(parameters) == bits(network())


def test_steps_between_probes_are_plain_steps_bit_by_bit() -> None:
    make = OPTIMIZERS["adamw"]
    parameters = network()
    optimizer = make(parameters)
    scheduler = begun(GenAuthors(interval=4), 0.05)
    probes = []
    for number in range(12):
        put_gradients(parameters, random_gradients(number, parameters))
        twins = [Parameter(p.detach().clone()) for p in parameters]
        twin = AdamW(twins, lr=scheduler.lr, weight_decay=0.1)
        twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for group in twin.param_groups:
            group["lr"] = scheduler.lr
        put_gradients(twins, [p.grad.clone() for p in parameters])
        twin.step()

        def loss(now: list[Parameter] = parameters) -> float:
            return sum(p.detach().double().square().sum().item() for p in now)

        rate = scheduler.step(number, optimizer, parameters, Told(loss))
        probes.append(rate.reason is not None)
        if rate.reason is None:
            assert bits(parameters) == bits(twins)
            assert rate == Rate(scheduler.lr)
    assert probes == [number % 4 == 0 for number in range(12)]


# The rule


@pytest.mark.parametrize("smooth", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("limit", [None, 1.5, 2.0, 10.0])
@pytest.mark.parametrize("star", [1e-4, 0.06, 0.1, 0.17, 40.0])
def test_the_authors_rule(star: float, limit: float | None, smooth: float) -> None:
    """η ← smooth·η + (1 − smooth)·clip(η*, η/limit, η·limit), from η = 0.1."""
    rate = rate_after(
        begun(GenAuthors(smooth=smooth, limit=limit), 0.1), line_loss(2.0, 2.0 / star)
    )
    clipped = star if limit is None else min(max(star, 0.1 / limit), 0.1 * limit)
    assert rate.lr == pytest.approx(smooth * 0.1 + (1 - smooth) * clipped, rel=1e-6)
    assert rate.lr_star == pytest.approx(star, rel=1e-6)


@pytest.mark.parametrize(
    ("slope", "curvature"), [(-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0), (0.0, 1.0), (1.0, 0.0)]
)
def test_the_authors_keep_the_rate_without_positive_slope_and_curvature(
    slope: float, curvature: float
) -> None:
    rate = rate_after(begun(GenAuthors(), 0.1), line_loss(slope, curvature))
    assert rate == Rate(0.1, None, "no minimum ahead: kept")


def test_the_authors_keep_the_rate_where_the_loss_behind_is_not_finite() -> None:
    rate = rate_after(begun(GenAuthors(), 0.1), lambda x: math.inf if x < 0 else 1.0 - x)
    assert rate == Rate(0.1, None, "no minimum ahead: kept")


def test_an_option_out_of_range_is_told_with_all_others() -> None:
    with pytest.raises(ConfigurationError) as caught:
        GenAuthors(interval=0, smooth=1.0, limit=1.0)
    named = [problem.split(":")[0] for problem in caught.value.problems]
    assert named == ["interval", "smooth", "limit"]
