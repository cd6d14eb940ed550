"""METHODS.md 6: the automatic rate by what a step does to both losses, on lines that are known.

Along a line the forget loss is −k·x or a parabola with its floor at zero, x the rate.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import random
from collections.abc import Callable

import pytest
import torch
from support.steps import (
    DOUBLE,
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
from torch.optim import SGD, AdamW

from unlearn.errors import ConfigurationError
from unlearn.schedulers import Gen, GenAuthors, Rate, Scheduler
from unlearn.schedulers.gen import AGREEMENT, Decay


def after(
    scheduler: Scheduler,
    forget: Callable[[float], float] | None = None,
    retain: Callable[[float], float] | None = None,
    number: int = 0,
    floor: bool = False,
) -> Rate:
    """One step along a line: a single parameter at 0 with gradient −1, so that it stands at x."""
    parameter = Parameter(torch.zeros(1, dtype=DOUBLE))
    parameter.grad = torch.tensor([-1.0], dtype=DOUBLE)
    losses = Told(
        None if retain is None else lambda: retain(parameter.item()),
        None if forget is None else lambda: forget(parameter.item()),
        floor,
    )
    rate = scheduler.step(number, SGD([parameter], lr=scheduler.lr), [parameter], losses)
    assert parameter.item() == pytest.approx(rate.lr if rate.taken else 0.0, abs=1e-300)
    return rate


STARTS = [10.0**exponent for exponent in range(-6, 7)]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("steepness", [1e-3, 1.0, 1e3])
def test_ascent_is_paced_by_a_guess_from_starts_twelve_decades_apart(
    start: float, steepness: float
) -> None:
    """pace/8·log V/steps nats in the first step, whatever a rate of 1 would do."""
    scheduler = begun(Gen(pace=5.0), start, steps=50)
    rate = after(scheduler, lambda x: -steepness * x)
    wanted = 5.0 * math.log(1000) / 8 / 50 / steepness
    assert wanted / AGREEMENT < rate.lr < wanted * AGREEMENT


@pytest.mark.parametrize("start", STARTS)
def test_a_loss_with_a_floor_is_paced_by_itself(start: float) -> None:
    scheduler = begun(Gen(pace=5.0), start, steps=50)
    rate = after(scheduler, lambda x: 4.0 * (1 - x) ** 2, floor=True)
    left = 4.0 * (1 - rate.lr) ** 2
    assert 0.4 / AGREEMENT**2 < 4.0 - left < 0.4 * AGREEMENT**2


@pytest.mark.parametrize("start", STARTS)
def test_the_search_is_not_taken_in_by_a_loss_that_comes_back(start: float) -> None:
    """Beyond the floor at 1 the loss climbs, and at 1.95 it has changed by as little as at 0.05."""
    scheduler = begun(Gen(pace=5.0), start, steps=50)
    rate = after(scheduler, lambda x: abs(1 - x) * 4.0, floor=True)
    assert 0.1 / AGREEMENT < rate.lr < 0.1 * AGREEMENT


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("power", [1, 3, 6])
def test_the_search_ends_at_one_rate_on_a_curved_line(start: float, power: int) -> None:
    """A first step of Adam forgets little, then all at once: a rule of three overshoots there."""
    rates = [
        after(begun(Gen(pace=8.0), lr, 150), lambda x: 4 * (1 - min(x, 1) ** power), floor=True)
        for lr in (start, 1.0)
    ]
    root = (8.0 / 150) ** (1 / power)
    for rate in rates:
        assert root / AGREEMENT < rate.lr <= root * 1.001


def test_done_rows_raise_no_rate() -> None:
    """What is left changes by little at any rate: a rate that grew for it ruined retain rows."""
    scheduler = begun(Gen(decay=Decay.none), 0.1)
    after(scheduler, lambda x: 4.0 - 0.001 * x, number=0, floor=True)
    found = scheduler.lr
    rate = after(scheduler, lambda x: 0.3 - 1e-6 * x, number=10, floor=True)
    assert (rate.lr, rate.reason) == (found, "forget rows are done: kept")


def test_a_steady_rate_leaves_a_floored_loss_its_share() -> None:
    """exp(−pace) of the first loss, as the docstring says; never less than a tenth counts."""
    scheduler, loss = begun(Gen(pace=2.0, decay=Decay.none, interval=1), 1e-3, steps=400), 3.0
    for number in range(400):
        here = loss
        rate = after(scheduler, lambda x, here=here: max(here - x, 0.0), None, number, floor=True)
        loss = here - rate.lr
    assert loss == pytest.approx(3.0 * math.exp(-2.0), rel=0.1)


@pytest.mark.parametrize("start", STARTS)
def test_the_search_ends_below_the_bound_of_the_retain_rows(start: float) -> None:
    """Forgetting would bear a rate of 10; the retain loss reaches its bound at 1e-2."""
    scheduler = begun(Gen(slack=0.05), start, steps=10)
    rate = after(scheduler, lambda x: -x, lambda x: 500.0 * x * x)
    assert 500.0 * rate.lr**2 <= 0.05
    assert rate.lr > 1e-3


def test_a_rate_falls_where_retain_rows_would_pay() -> None:
    scheduler = begun(Gen(decay=Decay.none, slack=0.05), 1.0)
    rate = after(scheduler, lambda x: -x, lambda x: 0.06 * x, number=10)
    assert (rate.lr, rate.reason) == (0.5, "retain rows would pay: fell")


def test_a_rate_that_repairs_is_kept_above_the_bound() -> None:
    """A state beyond the bound has no rate within it: what does not raise it may go on."""
    scheduler = begun(Gen(decay=Decay.none, slack=0.05), 1.0)
    rate = after(scheduler, lambda x: -x, lambda x: 1.0 - 0.1 * x, number=10)
    assert (rate.lr, rate.reason) == (1.0, "retain rows recover: kept")


def test_near_the_bound_no_rate_grows() -> None:
    scheduler = begun(Gen(decay=Decay.none, slack=0.05), 1e-3)
    rate = after(scheduler, lambda x: -x, lambda x: 0.03, number=10)
    assert (rate.lr, rate.reason) == (1e-3, "retain rows are near their bound: kept")


@pytest.mark.parametrize(("slope", "factor"), [(1e-9, 2.0), (1e9, 0.5), (0.0, 2.0)])
def test_a_later_probe_moves_the_rate_by_two_at_most(slope: float, factor: float) -> None:
    rate = after(begun(Gen(decay=Decay.none), 0.1), lambda x: -slope * x, number=10)
    assert rate.lr == pytest.approx(0.1 * factor)


def test_the_retain_task_alone_grows_until_it_pays() -> None:
    scheduler = begun(Gen(slack=0.05), 1e-6)
    rate = after(scheduler, None, lambda x: (x - 1) ** 2 - 1 if x < 2 else x)
    assert 0.5 < rate.lr <= 2.1


@pytest.mark.parametrize("number", [0, 10])
def test_a_probe_that_is_not_finite_is_gone_back_from(number: int) -> None:
    scheduler = begun(Gen(decay=Decay.none), 1e6)
    rate = after(scheduler, lambda x: -x if x < 5 else math.nan, number=number)
    assert rate.taken
    assert rate.lr < 5


def test_finite_losses_nowhere_take_the_step_back() -> None:
    rate = after(begun(Gen(), 1.0), lambda x: math.nan if x else 0.0)
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
    scheduler = begun(Gen(decay=decay, first_probes=1, interval=100), 0.2, steps=4)
    first = after(scheduler, lambda x: -x).lr
    rates = [first] + [after(scheduler, None, None, number).lr for number in range(1, 4)]
    assert rates == pytest.approx([first * factor for factor in factors])


def test_rounding_moves_the_rate_by_as_little() -> None:
    """Losses that differ by 1 % at every point, as bfloat16 makes them, give the same rate."""
    found = []
    for seed in range(5):
        noise = random.Random(seed)
        scheduler = begun(Gen(), 1e-4)
        rate = after(scheduler, lambda x, noise=noise: (4 - x) * (1 + noise.uniform(-1, 1) / 1e3))
        found.append(rate.lr)
    assert max(found) / min(found) < 1.2


def test_which_steps_are_probed() -> None:
    gen = Gen(interval=10, first_probes=3)
    assert [number for number in range(31) if gen.probes(number)] == [0, 1, 2, 10, 20, 30]
    assert [number for number in range(31) if GenAuthors(10).probes(number)] == [0, 10, 20, 30]


def test_a_probe_costs_one_evaluation_of_each_task() -> None:
    calls = []

    def counted(name: str) -> Callable[[float], float]:
        def at(x: float) -> float:
            calls.append((name, x))
            return -0.01 * x

        return at

    scheduler = begun(Gen(decay=Decay.none), 0.1)
    for number in range(10, 20):
        after(scheduler, counted("forget"), counted("retain"), number)
    ahead = [name for name, x in calls if x]
    assert sorted(ahead) == ["forget", "retain"]
    assert [name for name, x in calls if not x] == ["forget"]  # known to a run, that measured it


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


@pytest.mark.parametrize("kind", [Gen, GenAuthors])
def test_gen_goes_on_from_its_state(kind: type[Gen] | type[GenAuthors]) -> None:
    first = begun(kind(interval=1), 0.1)
    rate_after(first, line_loss(1.0, 1.0 / 0.3))
    second = begun(kind(interval=1), 0.1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    loss = line_loss(1.0, 1.0 / 0.5)
    assert rate_after(second, loss, 1) == rate_after(first, loss, 1)


def test_every_option_out_of_range_is_told_with_its_value() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Gen(interval=0, first_probes=0, pace=0.0, slack=-1.0)
    told = ["interval: 0", "first_probes: 0", "pace: 0.0", "slack: -1.0"]
    assert [problem.split(";")[0] for problem in caught.value.problems] == told


def test_no_more_than_five_options() -> None:
    assert len(dataclasses.fields(Gen)) == 5
