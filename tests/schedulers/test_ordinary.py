"""The ordinary schedules: rates by step, and steps that are the optimizer's own."""

from __future__ import annotations

import math
import random

import pytest
import torch
from support.steps import (
    OPTIMIZERS,
    Told,
    begun,
    bits,
    network,
    put_gradients,
    random_gradients,
    taken,
)
from torch.nn import Parameter
from torch.optim import SGD
from transformers import get_scheduler

from unlearn.errors import ConfigurationError
from unlearn.schedulers import Constant, Cosine, LinearDecay, Rate, Scheduler


def rates_of(scheduler: Scheduler, steps: int) -> list[float]:
    """The learning rates that the optimizer gets."""
    parameter = Parameter(torch.ones(2))
    optimizer = SGD([{"params": [parameter]}], lr=2.0)
    scheduler.begin(optimizer.param_groups[0]["lr"], steps)
    rates = []
    for number in range(steps):
        parameter.grad = torch.ones(2)
        rate = scheduler.step(number, optimizer, [parameter], Told(None))
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
    begun(Constant(), 0.25).step(0, optimizer, parameters, Told(None))
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
