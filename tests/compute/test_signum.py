"""optimizer=signum: a step of the rate along the sign of a moving average, and nothing else."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from support import tiny
from support.command import QUICK, Command
from torch import Tensor
from torch.nn import Parameter

from unlearn.compute.signum import Signum
from unlearn.errors import ConfigurationError
from unlearn.objectives import NegativeLogLikelihood
from unlearn.training.tasks import Task, task_gradient


def draws(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(40, generator=generator, dtype=torch.float64) for _ in range(count)]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_it_takes_the_steps_of_a_plain_loop(beta: float, decay: float) -> None:
    start, *gradients = draws(8)
    weight = Parameter(start.clone())
    optimizer = Signum([weight], lr=1.0, momentum=beta, weight_decay=decay)
    by_hand, average = start.tolist(), [0.0] * len(start)
    for number, gradient in enumerate(gradients, 1):
        rate = 1e-3 * number  # a scheduler's
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = gradient.clone()
        optimizer.step()
        average = [
            beta * m + (1 - beta) * g for m, g in zip(average, gradient.tolist(), strict=True)
        ]
        by_hand = [
            w * (1 - rate * decay) - rate * math.copysign(1, m)
            for w, m in zip(by_hand, average, strict=True)
        ]
        torch.testing.assert_close(weight.detach(), torch.tensor(by_hand, dtype=torch.float64))


def test_what_has_no_momentum_does_not_move() -> None:
    touched, untouched = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    touched.grad = torch.tensor([0.0, 1e-30, -5.0])
    Signum([touched, untouched], lr=0.5, weight_decay=0.0).step()
    assert touched.tolist() == [1.0, 0.5, 1.5]
    assert untouched.tolist() == [1.0, 1.0, 1.0]


def test_the_step_is_linear_in_the_rate_as_the_automatic_one_needs_it() -> None:
    start, gradient = draws(2)
    ends = []
    for rate in (1e-3, 1e-1):
        weight = Parameter(start.clone())
        optimizer = Signum([weight], lr=rate, weight_decay=0.3)
        weight.grad = gradient.clone()
        optimizer.step()
        ends.append((weight.detach() - start) / rate)
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-12)


def test_the_state_goes_on_and_is_one_number_a_weight() -> None:
    start, *gradients = draws(7)

    def made(at: Tensor) -> tuple[Parameter, Signum]:
        weight = Parameter(at.clone())
        return weight, Signum([weight], lr=1e-2)

    def steps(weight: Parameter, optimizer: Signum, some: list[Tensor]) -> None:
        for gradient in some:
            weight.grad = gradient.clone()
            optimizer.step()

    whole, cut = made(start), made(start)
    steps(*whole, gradients)
    steps(*cut, gradients[:3])
    state = copy.deepcopy(cut[1].state_dict())
    again = made(cut[0].detach())
    again[1].load_state_dict(state)
    steps(*again, gradients[3:])
    assert torch.equal(again[0], whole[0])
    (kept,) = whole[1].state[whole[0]].values()
    assert kept.shape == start.shape


def test_micro_batches_change_no_step() -> None:
    """The sign is of the whole batch's gradient, never of a part's."""
    ends = []
    for split in ([[*range(8)]], [[4], [1, 7, 2], [0, 6], [5, 3]]):
        model = tiny.model("gpt2", dtype=torch.float64)
        optimizer = Signum(tiny.parameters(model), lr=1e-3)
        task = Task(NegativeLogLikelihood(), [tiny.batch(rows) for rows in split])
        _, gradient = task_gradient(model, task, tiny.parameters(model), tiny.COMPUTE)
        for parameter, part in zip(tiny.parameters(model), gradient, strict=True):
            # What is zero but for rounding, as of a key's bias, has no sign to compare.
            clear = None if part is None else part.where(part.abs() > 1e-9, torch.zeros_like(part))
            parameter.grad = clear
        optimizer.step()
        ends.append(tiny.flat([p.detach() for p in tiny.parameters(model)]))
    assert torch.equal(*ends)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, math.nan])
def test_a_momentum_that_never_moves_is_refused(momentum: float) -> None:
    with pytest.raises(ConfigurationError, match=r"momentum: .*; allowed: 0 up to, not including"):
        Signum([Parameter(torch.zeros(1))], momentum=momentum)


def test_a_run_is_told_so_before_a_model_loads(unlearn: Command) -> None:
    done = unlearn(*QUICK, "optimizer=signum", "optimizer.momentum=1.0")
    assert done.status == 2
    assert "optimizer.momentum: 1.0; allowed: 0 up to, not including, 1" in done.said
