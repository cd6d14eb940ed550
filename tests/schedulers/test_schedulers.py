"""METHODS.md 4: the automatic rate on losses whose best rate is known, and the ordinary schedules.

The quadratic is L(w) = ½ wᵀHw − bᵀw + c. Along u = ∇L, the step of plain SGD, its parabola has the
slope u·u and the curvature uᵀHu, so that η* = u·u / uᵀHu.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import SGD, AdamW, Optimizer
from transformers import get_scheduler

from unlearn.errors import ConfigurationError
from unlearn.schedulers import Constant, Cosine, Gen, GenAuthors, LinearDecay, Rate, Scheduler
from unlearn.schedulers.gen import AGREEMENT, Decay

DOUBLE = torch.float64


class Quadratic:
    """A convex quadratic of two parameters of different shape, 10 coordinates in all."""

    def __init__(self, seed: int = 0, dtype: torch.dtype = DOUBLE) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, dtype=DOUBLE, generator=generator)

        root = draw(10, 10)
        self.hessian = (root @ root.T / 10 + torch.eye(10, dtype=DOUBLE)).to(dtype)
        self.linear, self.constant = draw(10).to(dtype), 30.0
        self.parameters = [Parameter(draw(2, 3).to(dtype)), Parameter(draw(4).to(dtype))]

    @property
    def at(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self.parameters])

    def loss(self) -> float:
        return self.loss_of(self.at)

    def loss_of(self, w: Tensor) -> float:
        return (0.5 * w @ self.hessian @ w - self.linear @ w).item() + self.constant

    @property
    def gradient(self) -> Tensor:
        return self.hessian @ self.at - self.linear

    def parts(self, vector: Tensor) -> list[Tensor]:
        return [vector[:6].reshape(2, 3).clone(), vector[6:].clone()]

    def best_rate(self, direction: Tensor | None = None) -> float:
        """η* along `direction`; along the gradient where none is given."""
        u = self.gradient if direction is None else direction
        return ((self.gradient @ u) / (u @ self.hessian @ u)).item()

    def step(
        self,
        scheduler: Scheduler,
        optimizer: Optimizer,
        number: int = 0,
        direction: Tensor | None = None,
        retain_loss: Callable[[], float] | None = None,
    ) -> Rate:
        """One step of `scheduler` along `direction`, with this loss as the retain loss."""
        gradient = self.gradient
        put_gradients(self.parameters, self.parts(gradient if direction is None else direction))
        return scheduler.step(
            number, optimizer, self.parameters, retain_loss or self.loss, self.loss()
        )


def put_gradients(parameters: list[Parameter], parts: list[Tensor]) -> None:
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part


def begun(scheduler: Scheduler, lr: float, steps: int = 100) -> Scheduler:
    scheduler.begin(lr, steps)
    return scheduler


def undamped(interval: int = 10) -> GenAuthors:
    """Neither damping nor limit: every rate is what the probe said."""
    return GenAuthors(interval, smooth=0.0, limit=None)


def bits(tensors: list[Tensor]) -> list[bytes]:
    """The memory of tensors: 0.0 and −0.0 differ here, and a NaN equals itself."""
    return [tensor.detach().numpy().tobytes() for tensor in tensors]


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


@pytest.mark.parametrize("start", [10.0**exponent for exponent in range(-6, 7)])
def test_the_search_ends_at_the_best_rate_from_starts_twelve_decades_apart(start: float) -> None:
    quadratic = Quadratic(seed=1)
    best, before, gradient = quadratic.best_rate(), quadratic.at, quadratic.gradient
    scheduler = begun(Gen(decay=Decay.none), start)
    rate = quadratic.step(scheduler, SGD(quadratic.parameters, lr=start))
    assert rate.reason is not None
    assert rate.reason.startswith("found")
    assert rate.lr == pytest.approx(best, rel=1e-3)
    torch.testing.assert_close(quadratic.at, before - rate.lr * gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("start", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_the_search_works_in_single_precision_up_to_its_agreement(start: float) -> None:
    quadratic = Quadratic(seed=1, dtype=torch.float32)
    best = quadratic.best_rate()
    scheduler = begun(Gen(decay=Decay.none), start)
    rate = quadratic.step(scheduler, SGD(quadratic.parameters, lr=start))
    assert best / AGREEMENT < rate.lr < best * AGREEMENT


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


# Weights and optimizer state, bit by bit

OPTIMIZERS: dict[str, Callable[[list[Parameter]], Optimizer]] = {
    "sgd": lambda parameters: SGD(parameters, lr=0.05),
    "momentum": lambda parameters: SGD(parameters, lr=0.05, momentum=0.9, nesterov=True),
    "adamw": lambda parameters: AdamW(parameters, lr=0.05, weight_decay=0.1),
}


def network() -> list[Parameter]:
    """Float32 parameters of sizes from 1 to 40,000 elements, a signed zero among them."""
    generator = torch.Generator().manual_seed(6)
    shapes = [(200, 200), (7,), (), (33, 3)]
    parameters = [Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    with torch.no_grad():
        parameters[1][0] = -0.0
    return parameters


def random_gradients(number: int, parameters: list[Parameter]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(100 + number)
    return [torch.randn(p.shape, generator=generator) for p in parameters]


def taken_plainly(make: Callable[[list[Parameter]], Optimizer], steps: int) -> Any:
    """Parameters and optimizer after plain steps with the gradients 0, 1, 2 …"""
    parameters = network()
    optimizer = make(parameters)
    for number in range(steps):
        put_gradients(parameters, random_gradients(number, parameters))
        optimizer.step()
    return parameters, optimizer


def taken(
    scheduler: Scheduler,
    make: Callable[[list[Parameter]], Optimizer],
    steps: int,
    retain_loss: Callable[[list[Parameter]], float],
) -> Any:
    """Parameters, optimizer and rates after steps of `scheduler` with the same gradients."""
    parameters = network()
    optimizer = make(parameters)
    rates = []
    for number in range(steps):
        put_gradients(parameters, random_gradients(number, parameters))
        here = retain_loss(parameters)
        rates.append(
            scheduler.step(number, optimizer, parameters, lambda: retain_loss(parameters), here)
        )
    return parameters, optimizer, rates


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

    rate = begun(GenAuthors(), 3e38).step(0, optimizer, parameters, loss, loss())
    assert not rate.taken
    assert bits(parameters) == bits(network())


@pytest.mark.parametrize(
    "gen", [Gen(interval=3), Gen(interval=3, first_probes=1), GenAuthors(interval=3)]
)
def test_the_optimizers_state_advances_once_a_step_whatever_was_probed(gen: Scheduler) -> None:
    """Every second loss is not finite, so that steps are taken, moved and taken back."""
    calls = iter(range(10**6))

    def loss(parameters: list[Parameter]) -> float:
        centred = sum((p.detach().double() - 1).square().sum().item() for p in parameters)
        return math.nan if next(calls) % 7 == 5 else centred

    make = OPTIMIZERS["adamw"]
    parameters, optimizer, rates = taken(begun(gen, 0.05, steps=12), make, 12, loss)
    plain_parameters, plain = taken_plainly(make, 12)
    assert any(rate.reason for rate in rates)
    for parameter, other in zip(parameters, plain_parameters, strict=True):
        state, expected = optimizer.state[parameter], plain.state[other]
        assert state.keys() == expected.keys()
        assert state["step"].item() == 12
        assert bits(list(state.values())) == bits(list(expected.values()))


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

        rate = scheduler.step(number, optimizer, parameters, loss, loss())
        probes.append(rate.reason is not None)
        if rate.reason is None:
            assert bits(parameters) == bits(twins)
            assert rate == Rate(scheduler.lr)
    assert probes == [number % 4 == 0 for number in range(12)]


def test_adamw_with_a_new_rate_ends_where_adamw_at_that_rate_would() -> None:
    """The step is linear in the rate, weight decay included: moving on the line is enough."""
    make = OPTIMIZERS["adamw"]

    def loss(parameters: list[Parameter]) -> float:
        return sum((p.detach().double() - 0.3).square().sum().item() for p in parameters)

    parameters, _, (rate,) = taken(begun(Gen(decay=Decay.none), 1.0), make, 1, loss)
    assert rate.lr != pytest.approx(0.05, rel=0.1)
    plain = network()
    put_gradients(plain, random_gradients(0, plain))
    AdamW(plain, lr=rate.lr, weight_decay=0.1).step()
    for parameter, other in zip(parameters, plain, strict=True):
        torch.testing.assert_close(parameter, other, rtol=1e-5, atol=1e-6)


def test_no_gradient_is_left_for_the_next_step() -> None:
    quadratic = Quadratic()
    quadratic.step(begun(Gen(), 0.1), SGD(quadratic.parameters, lr=0.1))
    assert all(parameter.grad is None for parameter in quadratic.parameters)


# The rules


def line_loss(slope: float, curvature: float, here: float = 10.0) -> Callable[[float], float]:
    """The retain loss at w − x·u as a function of x."""
    return lambda x: here - slope * x + 0.5 * curvature * x * x


def rate_after(scheduler: Scheduler, loss: Callable[[float], float], number: int = 0) -> Rate:
    """One step along a line: a single parameter at 0 with gradient −1, so that it stands at x."""
    parameter = Parameter(torch.zeros(1, dtype=DOUBLE))
    parameter.grad = torch.tensor([-1.0], dtype=DOUBLE)
    optimizer = SGD([parameter], lr=scheduler.lr)
    rate = scheduler.step(number, optimizer, [parameter], lambda: loss(parameter.item()), loss(0))
    assert parameter.item() == pytest.approx(rate.lr if rate.taken else 0.0)
    return rate


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


def test_by_default_the_rate_is_a_geometric_mean() -> None:
    scheduler = begun(Gen(decay=Decay.none, signal=0.0, smooth=0.7, limit=10.0), 0.1)
    rate = rate_after(scheduler, line_loss(1.0, 1.0 / 0.4), number=1)
    assert rate.lr == pytest.approx(0.1**0.7 * 0.4**0.3, rel=1e-6)
    assert rate.reason == "rose"


def test_a_star_far_away_moves_the_rate_by_the_limit_only() -> None:
    scheduler = begun(Gen(decay=Decay.none, signal=0.0, smooth=0.0, limit=10.0), 0.1)
    rate = rate_after(scheduler, line_loss(1.0, 1.0 / 1e-4), number=1)
    assert rate.lr == pytest.approx(0.01)
    assert rate.reason == "fell"


def test_a_rising_loss_without_a_minimum_lowers_the_rate_to_a_quarter() -> None:
    scheduler = begun(Gen(decay=Decay.none, signal=0.0, smooth=0.0), 0.1)
    rate = rate_after(scheduler, line_loss(-1.0, 1.0), number=1)
    assert rate.lr == pytest.approx(0.025)
    assert rate.reason == "no minimum ahead, loss rises: fell"


def test_the_search_retreats_from_losses_that_are_not_finite() -> None:
    parabola = line_loss(1.0, 1.0 / 0.4)
    rate = rate_after(
        begun(Gen(decay=Decay.none), 1e6), lambda x: parabola(x) if abs(x) < 5 else math.nan
    )
    assert rate.lr == pytest.approx(0.4, rel=1e-3)


def test_a_search_that_finds_finite_losses_nowhere_takes_the_step_back() -> None:
    rate = rate_after(begun(Gen(), 1.0), lambda x: math.nan)
    assert not rate.taken
    assert rate.reason == "not finite: step taken back"


@pytest.mark.parametrize(
    ("decay", "factors"),
    [
        (Decay.none, [1, 1, 1, 1]),
        (Decay.linear, [1, 0.75, 0.5, 0.25]),
        (Decay.cosine, [1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5]),
    ],
)
def test_the_decay_multiplies_the_rate_and_is_not_learnt(
    decay: Decay, factors: list[float]
) -> None:
    """A loss that is best at 0.2 everywhere: what the decay takes the probes must not give back."""
    scheduler = begun(Gen(decay=decay, interval=1, smooth=0.5, signal=0.0), 0.2, steps=4)
    rates = [rate_after(scheduler, line_loss(1.0, 1.0 / 0.2), number) for number in range(4)]
    assert [rate.lr for rate in rates] == pytest.approx([0.2 * factor for factor in factors])
    assert scheduler.lr == pytest.approx(0.2)


# Rough losses: weights rounded to bfloat16


def rough(loss: Callable[[float], float], roughness: float, seed: int) -> Callable[[float], float]:
    """A loss with an error of its own at every point, as rounded weights give it one."""

    def at(x: float) -> float:
        error = random.Random(f"{x!r}/{seed}").uniform(-1, 1)
        return loss(x) * (1 + roughness * error)

    return at


STARTS = [10.0**exponent for exponent in range(-7, 3)]


@pytest.mark.parametrize("start", STARTS)
def test_the_search_finds_the_rate_of_a_rough_loss(start: float) -> None:
    """Half the loss is lost at best; its roughness is 1 % of it, as measured for bfloat16."""
    for seed in range(5):
        scheduler = begun(Gen(decay=Decay.none), start)
        loss = rough(line_loss(1.0, 1.0 / 4e-4, here=4e-4), 0.01, seed)
        rate = rate_after(scheduler, loss)
        assert 4e-4 / 1.5 < rate.lr < 4e-4 * 1.5


def test_a_search_that_takes_roughness_for_a_parabola_ends_anywhere() -> None:
    """What the signal is there for: without it the same search is lost."""
    found = []
    for start in STARTS:
        scheduler = begun(Gen(decay=Decay.none, signal=0.0), start)
        found.append(rate_after(scheduler, rough(line_loss(1.0, 1.0 / 4e-4, 4e-4), 0.01, 0)).lr)
    assert max(found) / min(found) > 1000


def test_a_probe_reaches_as_far_as_the_last_minimum_lies() -> None:
    """At a rate a hundredth of the best one the bend is too slight to be seen; there it is not."""
    asked: list[float] = []
    parabola = line_loss(1.0, 1.0 / 0.4, here=1.0)

    def loss(x: float) -> float:
        asked.append(abs(x))
        return parabola(x)

    scheduler = begun(Gen(decay=Decay.none), 0.1)
    assert isinstance(scheduler, Gen)
    scheduler.reach = 0.4
    rate = rate_after(scheduler, loss, number=10)
    assert max(asked) == pytest.approx(0.4)
    assert rate.lr_star == pytest.approx(0.4, rel=1e-6)
    scheduler.reach = 100.0
    rate_after(scheduler, loss, number=20)
    assert max(asked) == pytest.approx(10 * rate.lr)  # never more than ten times the rate


def test_a_rate_that_does_not_bend_the_loss_grows() -> None:
    scheduler = begun(Gen(decay=Decay.none), 1e-3)
    rate = rate_after(scheduler, line_loss(1.0, 1.0 / 0.4, here=1.0), number=10)
    assert rate.lr == pytest.approx(1e-3 * 4**0.3, rel=1e-6)
    assert rate.reason == "no bend to be seen: rose"


def test_a_probe_that_overflows_far_ahead_keeps_the_rate_and_comes_back() -> None:
    parabola = line_loss(1.0, 1.0 / 0.4, here=1.0)
    scheduler = begun(Gen(decay=Decay.none), 0.1)
    assert isinstance(scheduler, Gen)
    scheduler.reach = 1.0
    rate = rate_after(scheduler, lambda x: parabola(x) if abs(x) < 0.5 else math.inf, number=10)
    assert rate == Rate(0.1, None, "not finite far ahead: kept")
    assert scheduler.reach == 0.1


def test_which_steps_are_probed() -> None:
    gen = Gen(interval=10, first_probes=3)
    assert [number for number in range(31) if gen.probes(number)] == [0, 1, 2, 10, 20, 30]
    assert [number for number in range(31) if GenAuthors(10).probes(number)] == [0, 10, 20, 30]


def test_a_probe_costs_two_evaluations() -> None:
    quadratic = Quadratic()
    calls = []

    def counted() -> float:
        calls.append(1)
        return quadratic.loss()

    scheduler = begun(Gen(), 0.1)
    optimizer = SGD(quadratic.parameters, lr=0.1)
    for number in range(10, 20):
        quadratic.step(scheduler, optimizer, number, retain_loss=counted)
    assert len(calls) == 2


@pytest.mark.parametrize("kind", [Gen, GenAuthors])
def test_gen_goes_on_from_its_state(kind: type[Gen] | type[GenAuthors]) -> None:
    first = begun(kind(interval=1), 0.1)
    rate_after(first, line_loss(1.0, 1.0 / 0.3))
    second = begun(kind(interval=1), 0.1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    loss = line_loss(1.0, 1.0 / 0.5)
    assert rate_after(second, loss, 1) == rate_after(first, loss, 1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"interval": 0}, "interval: 0"),
        ({"smooth": 1.0}, "smooth: 1.0"),
        ({"smooth": -0.1}, "smooth: -0.1"),
        ({"limit": 1.0}, "limit: 1.0"),
        ({"first_probes": 0}, "first_probes: 0"),
        ({"signal": 1.0}, "signal: 1.0"),
        ({"signal": -0.1}, "signal: -0.1"),
        ({"cap": 0.5}, "cap: 0.5"),
    ],
)
def test_an_option_out_of_range_is_named_with_its_value(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{told}; allowed: "):
        Gen(**options)


def test_every_wrong_option_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Gen(interval=0, smooth=2.0, limit=0.5, first_probes=0)
    named = [problem.split(":")[0] for problem in caught.value.problems]
    assert named == ["interval", "smooth", "limit", "first_probes"]
    with pytest.raises(ConfigurationError) as caught:
        GenAuthors(interval=0, smooth=1.0, limit=1.0)
    named = [problem.split(":")[0] for problem in caught.value.problems]
    assert named == ["interval", "smooth", "limit"]


# The ordinary schedules


def rates_of(scheduler: Scheduler, steps: int) -> list[float]:
    """The learning rates that the optimizer gets."""
    parameter = Parameter(torch.ones(2))
    optimizer = SGD([{"params": [parameter]}], lr=2.0)
    scheduler.begin(optimizer.param_groups[0]["lr"], steps)
    rates = []
    for number in range(steps):
        parameter.grad = torch.ones(2)
        rate = scheduler.step(number, optimizer, [parameter], lambda: 0.0, 0.0)
        assert rate == Rate(optimizer.param_groups[0]["lr"])
        rates.append(rate.lr)
    torch.testing.assert_close(parameter.detach(), torch.full((2,), 1.0 - sum(rates)))
    return rates


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (Constant(), [2, 2, 2, 2, 2, 2, 2, 2]),
        (Constant(warmup=0.5), [0.5, 1, 1.5, 2, 2, 2, 2, 2]),
        (LinearDecay(), [2, 1.75, 1.5, 1.25, 1, 0.75, 0.5, 0.25]),
        (LinearDecay(warmup=0.25), [1, 2, 2, 10 / 6, 8 / 6, 1, 4 / 6, 2 / 6]),
        (Cosine(warmup=0.5), [0.5, 1, 1.5, 2, 2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5]),
    ],
    ids=["constant", "constant warm", "linear", "linear warm", "cosine warm"],
)
def test_the_rates_step_by_step(scheduler: Scheduler, expected: list[float]) -> None:
    assert rates_of(scheduler, 8) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "name"), [(Constant, "constant"), (LinearDecay, "linear"), (Cosine, "cosine")]
)
@pytest.mark.parametrize("warmup", [0.0, 0.3])
def test_after_the_warm_up_the_rates_are_those_of_transformers(
    kind: type[Constant], name: str, warmup: float
) -> None:
    """Its warm-up begins at a rate of 0, which wastes a step; ours ends one step earlier."""
    steps, warm = 20, int(warmup * 20)
    optimizer = SGD([Parameter(torch.ones(1))], lr=2.0)
    name = "constant_with_warmup" if name == "constant" and warm else name
    oracle = get_scheduler(name, optimizer, num_warmup_steps=warm, num_training_steps=steps)
    theirs = []
    for _ in range(steps):
        theirs.append(oracle.get_last_lr()[0])
        optimizer.step()
        oracle.step()
    assert rates_of(kind(warmup=warmup), steps)[warm:] == pytest.approx(theirs[warm:])


@pytest.mark.parametrize("kind", [Constant, LinearDecay, Cosine])
def test_an_ordinary_schedule_takes_the_plain_step_bit_by_bit(kind: type[Constant]) -> None:
    make = OPTIMIZERS["adamw"]
    scheduler = begun(kind(), 0.05, steps=5)
    parameters, _, rates = taken(scheduler, make, 5, lambda _: math.nan)
    plain = network()
    optimizer = make(plain)
    for number in range(5):
        put_gradients(plain, random_gradients(number, plain))
        optimizer.param_groups[0]["lr"] = rates[number].lr
        optimizer.step()
    assert bits(parameters) == bits(plain)


def test_every_parameter_group_gets_the_rate() -> None:
    parameters = [Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = SGD([{"params": [p]} for p in parameters], lr=1.0)
    put_gradients(parameters, [torch.ones(1)] * 2)
    begun(Constant(), 0.25).step(0, optimizer, parameters, lambda: 0.0, 0.0)
    assert [p.item() for p in parameters] == [-0.25, -0.25]


@pytest.mark.parametrize("warmup", [-0.1, 1.0, math.nan])
def test_a_warm_up_out_of_range_is_refused(warmup: float) -> None:
    with pytest.raises(ConfigurationError, match=f"^warmup: {warmup}; allowed: 0 up to"):
        Cosine(warmup=warmup)


def test_an_ordinary_schedule_goes_on_from_its_state() -> None:
    scheduler = begun(Cosine(), random.Random(0).random(), steps=10)
    other = begun(Cosine(), 1.0, steps=10)
    other.load_state_dict(scheduler.state_dict())
    assert [other.rate(n) for n in range(10)] == [scheduler.rate(n) for n in range(10)]


def test_the_rate_is_capped_by_what_the_first_probes_said() -> None:
    """A minimum that runs away, as an overfitted batch shows it, lifts no later rate."""
    lrs = []
    for cap in (1.5, 1e9):
        weights = torch.nn.Parameter(torch.tensor([1.0]))
        optimizer = torch.optim.SGD([weights], lr=0.1)
        gen = Gen(interval=1, first_probes=2, decay=Decay.none, cap=cap)
        gen.begin(0.1, steps=20)
        for number in range(20):
            curvature = 1.0 if number < 2 else 0.01
            weights.data.fill_(1.0)
            weights.grad = torch.tensor([1.0])

            def loss(curvature: float = curvature, weights: Any = weights) -> float:
                x = 1 - weights.item()
                return 5 - x + curvature * x * x / 2

            rate = gen.step(number, optimizer, [weights], loss, loss_here=5.0)
        lrs.append((rate.lr, rate.reason))
    assert lrs[0] == (pytest.approx(1.5, rel=1e-3), "at its highest")
    assert lrs[1][0] > 10


def test_the_first_probes_are_of_another_batch_and_the_cap_holds_to_them() -> None:
    gen = Gen(interval=10, first_probes=3)
    assert [n for n in range(41) if gen.probes_held_out(n)] == [0, 1, 2]
    assert not any(GenAuthors().probes_held_out(n) for n in range(41))


def test_where_the_loss_here_is_not_known_it_is_computed() -> None:
    """On another batch than the step's."""
    asked: list[float] = []
    parabola = line_loss(1.0, 1.0 / 0.4, here=1.0)
    parameter = Parameter(torch.zeros(1, dtype=DOUBLE))
    parameter.grad = torch.tensor([-1.0], dtype=DOUBLE)

    def loss() -> float:
        asked.append(parameter.item())
        return parabola(parameter.item())

    gen = Gen(smooth=0.0, decay=Decay.none)
    gen.begin(0.4, steps=10)
    rate = gen.step(1, SGD([parameter], lr=0.4), [parameter], loss, None)
    assert asked == pytest.approx([0.0, 0.4, -0.4])
    assert rate.lr == pytest.approx(0.4)
