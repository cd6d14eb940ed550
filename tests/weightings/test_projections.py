"""BLUR, GRU, HAMU-Q and the forget-side dual against their formulas, written with whole vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from support import tiny
from torch import Tensor
from torch.optim import SGD

from benchmarks.loops import plan_of
from unlearn.data.batches import PairedBatches
from unlearn.errors import ConfigurationError
from unlearn.objectives import Ascent, NegativeLogLikelihood
from unlearn.schedulers import Constant
from unlearn.training.method import Method
from unlearn.training.trainer import Trainer
from unlearn.weightings import BLUR, GRU, HAMUQ, ForgetDual, Weighting

LOSSES = torch.tensor([0.5, -2.0], dtype=torch.float64)
Direction = Callable[[Tensor, Tensor], Tensor]
"""From the gradients r and f (D,) of the two losses being minimised to d (D,)."""


def blur(gamma: float, r: Tensor, f: Tensor) -> Tensor:
    """As the authors' code for WMDP has it, with α = 1/γ, and then γ times that."""
    return gamma * (f + (r - f * (f @ r) / (f @ f)) / gamma)


def gru(retain: float, r: Tensor, f: Tensor) -> Tensor:
    rectified = f - (f @ r) / (r @ r) * r if f @ r < 0 else f
    return rectified + retain * r


def hamu_q(gain: float, r: Tensor, f: Tensor) -> Tensor:
    unit_f = f / f.norm()
    if r @ unit_f >= gain * r.norm():
        return r / r.norm()
    orthogonal = r - (r @ unit_f) * unit_f
    return gain * unit_f + math.sqrt(1 - gain**2) * orthogonal / orthogonal.norm()


FORMULAS: list[tuple[Weighting, Direction]] = [
    *((BLUR(gamma), partial(blur, gamma)) for gamma in (0.1, 1.0, 7.0)),
    *((GRU(retain), partial(gru, retain)) for retain in (0.0, 1.0, 3.5)),
    *((HAMUQ(gain), partial(hamu_q, gain)) for gain in (0.0, 0.3, 0.5, 0.9, 1.0)),
]
every_formula = pytest.mark.parametrize(
    ("weighting", "formula"), FORMULAS, ids=[repr(weighting) for weighting, _ in FORMULAS]
)


def gramian_of(r: Tensor, f: Tensor) -> Tensor:
    both = torch.stack([r, f])
    return both @ both.T


def pairs(count: int = 300) -> list[tuple[Tensor, Tensor]]:
    """r and f of every angle, with norms from 1e-4 to 1e3."""
    draw = torch.Generator().manual_seed(3)
    found = []
    for number in range(count):
        both = torch.randn(2, 2 + number % 9, dtype=torch.float64, generator=draw)
        norms = 10 ** (7 * torch.rand(2, 1, dtype=torch.float64, generator=draw) - 4)
        r, f = both / both.norm(dim=1, keepdim=True) * norms
        found.append((r, f))
    return found


def direction(weighting: Weighting, r: Tensor, f: Tensor) -> Tensor:
    w_retain, w_forget = weighting(gramian_of(r, f), LOSSES)
    return w_retain * r + w_forget * f


@every_formula
def test_the_direction_is_that_of_the_formula(weighting: Weighting, formula: Direction) -> None:
    conflicts = 0
    for r, f in pairs():
        conflicts += bool(r @ f < 0)
        expected = formula(r, f)
        slack = 1e-9 * expected.norm().item() + 1e-12 * r.norm().item()
        torch.testing.assert_close(direction(weighting, r, f), expected, rtol=0, atol=slack)
    assert 100 < conflicts < 200, "both sides of every case are there"


@every_formula
def test_a_step_of_a_model_goes_along_the_formula(weighting: Weighting, formula: Direction) -> None:
    """With the gradients of a language model, by ascent and NLL."""
    model, lr = tiny.model("gpt2", dtype=torch.float64), 1e-2
    objectives = (NegativeLogLikelihood(), Ascent())
    batches = PairedBatches(tiny.examples()[:3], tiny.examples()[3:], 3, None, seed=0)
    forget, retain = batches.step(0)
    gradients = []
    for objective, task in zip(objectives, (retain, forget), strict=True):
        count = sum(objective.count(batch) for batch in task)
        loss = sum(objective.sum(model, batch) for batch in task) / count
        gradients.append(torch.autograd.grad(loss, tiny.parameters(model)))
    r, f = (tiny.flat(list(gradient)) for gradient in gradients)
    start = tiny.flat([p.detach().clone() for p in tiny.parameters(model)])
    method = Method(Ascent(), NegativeLogLikelihood(), weighting)
    plan = plan_of(method, Constant(), partial(SGD, lr=lr))
    Trainer(model, plan, batches, tiny.COMPUTE).step()
    moved = tiny.flat([p.detach() for p in tiny.parameters(model)]) - start
    assert tiny.relative_error(moved, -lr * formula(r, f)) < 1e-5  # the Gramian's are float32


def test_blur_lowers_the_forget_loss_by_gamma_whatever_the_retain_gradient_is() -> None:
    for r, f in pairs():
        d = direction(BLUR(0.4), r, f)
        slack = 1e-12 * d.norm().item() * f.norm().item()
        assert (d @ f).item() == pytest.approx(0.4 * (f @ f).item(), rel=1e-9, abs=slack)


def test_gru_raises_neither_loss() -> None:
    for r, f in pairs():
        d = direction(GRU(), r, f)
        assert (d @ r).item() >= -1e-12 * d.norm().item() * r.norm().item()
        assert (d @ f).item() >= 0


@pytest.mark.parametrize("gain", [0.0, 0.3, 0.8, 1.0])
def test_no_unit_direction_that_keeps_hamus_promise_lowers_the_retain_loss_more(
    gain: float,
) -> None:
    angles = torch.linspace(0, 2 * math.pi, 20_001, dtype=torch.float64)
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)  # (N, 2), in the plane of both
    for r, f in pairs(100):
        d = direction(HAMUQ(gain), r, f)
        assert d.norm().item() == pytest.approx(1, abs=1e-9)
        unit_r, unit_f = r / r.norm(), f / f.norm()
        assert (d @ unit_f).item() >= gain - 1e-9
        across = unit_r - (unit_r @ unit_f) * unit_f
        across = across / across.norm()
        candidates = circle @ torch.stack([unit_f, across])  # (N, D)
        kept = candidates[candidates @ unit_f >= gain - 1e-9]
        assert (kept @ unit_r).max().item() <= (d @ unit_r).item() + 1e-8


def test_a_zero_gradient_leaves_the_step_to_the_other_task() -> None:
    zero, other = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for weighting, length in ((BLUR(), 3**0.5), (GRU(1.0), 3**0.5), (HAMUQ(), 1.0)):
        for r, f in ((zero, other), (other, zero)):
            d = direction(weighting, r, f)
            torch.testing.assert_close(d, length * other / other.norm())
    assert direction(HAMUQ(), zero, zero).norm() == 0


def test_hamu_q_with_opposite_gradients_only_forgets() -> None:
    f = torch.tensor([3.0, -4.0], dtype=torch.float64)
    torch.testing.assert_close(direction(HAMUQ(0.5), -7 * f, f), 0.5 * f / 5)


# The dual variable


def told(weighting: Weighting, losses: list[float]) -> list[float]:
    """The forget weights of steps with these forget losses; the retain weight is always 1."""
    gramian, found = torch.eye(2, dtype=torch.float64), []
    for loss in losses:
        w_retain, w_forget = weighting(gramian, torch.tensor([9.0, loss], dtype=torch.float64))
        assert w_retain == 1
        found.append(w_forget)
    return found


def test_the_dual_grows_by_what_is_missing_and_sinks_to_nothing() -> None:
    weighting = ForgetDual(bound=-4.0, step=0.5, start=1.0, most=3.0)
    # λ + ½·(−NLL + 4): missing 4, 2, 0, then 3 and 9 too many
    weights = told(weighting, [0.0, -2.0, -4.0, -7.0, -13.0, -4.0])
    assert weights == pytest.approx([1.0, 3.0, 3.0, 3.0, 1.5, 0.0])


def test_without_a_bound_the_first_loss_is_to_fall_by_the_drop() -> None:
    weights = told(ForgetDual(drop=2.0, step=0.1), [5.0, 4.0, 2.0, 2.0])
    assert weights == pytest.approx([1.0, 1.2, 1.3, 1.2])  # the bound is 3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: BLUR(0.0), "gamma: 0.0; allowed: above 0"),
        (lambda: GRU(-1.0), "retain: -1.0; allowed: 0 or more"),
        (lambda: HAMUQ(1.5), "gain: 1.5; allowed: 0 to 1"),
        (lambda: ForgetDual(drop=0.0), "drop: 0.0; allowed: above 0"),
        (lambda: ForgetDual(bound=math.nan), "bound: nan; allowed: any finite number"),
        (lambda: ForgetDual(start=9.0, most=8.0), r"start: 9.0; allowed: 0 to most \(8.0\)"),
    ],
)
def test_an_option_out_of_range_is_refused(build: Callable[[], Weighting], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        build()
