"""METHODS.md 2: what holds for the weightings, over gradients of every size and angle.

Notation of the paper: g_R = ∇L_R, g_F = ∇L_F, θ the angle between them. What the weightings see is
the Gramian of the gradients being minimised, g_R and −g_F.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torchjd.aggregation import (
    CAGradWeighting,
    IMTLGWeighting,
    MGDAWeighting,
    PCGradWeighting,
    UPGradWeighting,
)

import unlearn.weightings
from unlearn.errors import ConfigurationError
from unlearn.options.parts import part
from unlearn.weightings import (
    IMTLG,
    MGDA,
    Linear,
    LossNorm,
    NashMTL,
    NGDiff,
    PCGrad,
    PrimalDual,
    RandomWeighting,
    TorchJDWeighting,
    Weighting,
    admissible_shares,
    diagnose,
)

LOSSES = torch.tensor([0.5, -2.0], dtype=torch.float64)
"""Retain NLL and, for ascent, minus the forget NLL."""
LARGEST_FLOAT32 = torch.finfo(torch.float32).max
PRESETS = Path(__file__).resolve().parents[2] / "conf" / "method" / "weighting"
SOLVERS = ("cvxpy", "clarabel", "ecos", "qpsolvers", "quadprog")
"""What `pip install -e '.[solvers]'` brings, by import name."""
needs_solvers = pytest.mark.skipif(
    not all(find_spec(name) for name in SOLVERS), reason="needs pip install -e '.[solvers]'"
)


def preset(name: str) -> Weighting:
    """Return the weighting of conf/method/weighting/NAME.yaml, built as a run builds it."""
    root = OmegaConf.create({"seed": 3, "retain_share": 0.5, "weighting": {}})
    root.weighting = OmegaConf.load(PRESETS / f"{name}.yaml")
    return part(Weighting)(root.weighting)


NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))
WITH_SOLVERS = {"cagrad", "upgrad", "dualproj"}
BUILDS = [
    pytest.param(
        lambda name=name: preset(name), id=name, marks=needs_solvers if name in WITH_SOLVERS else []
    )
    for name in NAMES
]
"""Makers of a fresh weighting for every YAML of the group."""

EXPORTED = [
    kind
    for name in unlearn.weightings.__all__
    if isinstance(kind := getattr(unlearn.weightings, name), type)
    and issubclass(kind, Weighting)
    and kind is not Weighting
]


class Pair(NamedTuple):
    """The two gradients of a step, as the paper names them."""

    retain: Tensor  # (D,) float64, g_R
    forget: Tensor  # (D,) float64, g_F

    @property
    def gramian(self) -> Tensor:
        return gramian_of(self.retain, -self.forget)

    @property
    def cosine(self) -> float:
        return (unit(self.retain) @ unit(self.forget)).item()

    def direction(self, weights: tuple[float, float]) -> Tensor:
        return weights[0] * self.retain - weights[1] * self.forget


def unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def gramian_of(first: Tensor, second: Tensor) -> Tensor:
    inner = first @ second  # once, so that the matrix is symmetric to the last bit
    return torch.stack([first @ first, inner, inner, second @ second]).reshape(2, 2)


def pair_at(angle: float, retain_norm: float, forget_norm: float, seed: int = 0) -> Pair:
    """Two gradients of these norms with this angle, in a random plane of 12 dimensions."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(12, 2, dtype=torch.float64, generator=generator)
    first, second = torch.linalg.qr(basis).Q.T
    turned = math.cos(angle) * first + math.sin(angle) * second
    return Pair(retain_norm * first, forget_norm * turned)


def random_pairs(count: int = 300, least: float = 1e-4, most: float = 1e3) -> list[Pair]:
    """Pairs of random dimension and direction, with norms spread evenly over the decades."""
    generator = torch.Generator().manual_seed(1)

    def gradient(size: int) -> Tensor:
        share = torch.rand((), dtype=torch.float64, generator=generator)
        norm = least * (most / least) ** share
        return norm * unit(torch.randn(size, dtype=torch.float64, generator=generator))

    return [Pair(gradient(size), gradient(size)) for size in (2 + n % 30 for n in range(count))]


NORMS = (1e-4, 1.0, 1e3)
EDGES = [
    pair_at(angle, *norms, seed=n)
    for n, (angle, norms) in enumerate(
        product((0.0, 1e-3, 0.3, math.pi / 2, math.pi - 1e-3, math.pi), product(NORMS, NORMS))
    )
]
"""Parallel, nearly parallel, orthogonal and anti-parallel gradients of wildly different norms."""
PAIRS = random_pairs() + EDGES
GENERIC = [pair for pair in random_pairs() if abs(pair.cosine) < 0.99]


# The guarantee of NGDiff


def test_ngdiff_lowers_retain_and_raises_forget_by_exactly_what_the_angle_allows() -> None:
    for pair in PAIRS:
        d = pair.direction(NGDiff()(pair.gramian, LOSSES))
        slack = 1e-12  # of the norms: what rounding leaves of zero for parallel gradients
        retain, forget = (d @ unit(pair.retain)).item(), (d @ unit(pair.forget)).item()
        assert retain >= -slack
        assert forget <= slack
        assert retain == pytest.approx(1 - pair.cosine, rel=1e-9, abs=slack)
        assert forget == pytest.approx(-(1 - pair.cosine), rel=1e-9, abs=slack)
        assert (d @ d).item() == pytest.approx(2 * (1 - pair.cosine), rel=1e-9, abs=slack)


def test_the_angle_between_ngdiff_and_the_retain_gradient_is_half_of_what_is_left_to_pi() -> None:
    for angle in (1e-2, 0.5, 1.0, math.pi / 2, 2.5, math.pi):
        for norms in product(NORMS, NORMS):
            pair = pair_at(angle, *norms)
            d = unit(pair.direction(NGDiff()(pair.gramian, LOSSES)))
            assert (d @ unit(pair.retain)).item() == pytest.approx(math.sin(angle / 2), rel=1e-9)
            assert (d @ unit(pair.forget)).item() == pytest.approx(-math.sin(angle / 2), rel=1e-9)


def test_ngdiff_is_zero_for_gradients_of_the_same_direction_only() -> None:
    for norms in product(NORMS, NORMS):
        for angle, is_zero in ((0.0, True), (1e-2, False), (math.pi, False)):
            pair = pair_at(angle, *norms)
            norm = pair.direction(NGDiff()(pair.gramian, LOSSES)).norm().item()
            assert (norm < 1e-7) == is_zero


def test_ngdiff_is_the_unit_direction_that_does_most_for_the_worse_served_task() -> None:
    generator = torch.Generator().manual_seed(2)
    for pair in GENERIC[:40]:
        unit_retain, unit_forget = unit(pair.retain), unit(pair.forget)

        def worse_served(
            directions: Tensor, retain: Tensor = unit_retain, forget: Tensor = unit_forget
        ) -> Tensor:
            return torch.minimum(directions @ retain, -(directions @ forget))

        best = unit(pair.direction(NGDiff()(pair.gramian, LOSSES)))
        # The best direction lies in the plane of both gradients: search there, densely, and around.
        plane = torch.randn(4000, 2, dtype=torch.float64, generator=generator)
        around = torch.randn(4000, len(best), dtype=torch.float64, generator=generator)
        candidates = torch.cat(
            [plane @ torch.stack([unit_retain, unit_forget]), around, best + 0.05 * around]
        )
        reached = worse_served(candidates / candidates.norm(dim=1, keepdim=True)).max().item()
        highest = worse_served(best[None]).item()
        assert reached <= highest + 1e-12
        assert reached == pytest.approx(highest, abs=1e-2)  # the search is fine enough to mean it


def test_a_small_step_along_ngdiff_serves_both_losses_where_a_fixed_share_fails_one() -> None:
    # Two parabolas in two variables; near w their gradients almost agree and differ in size.
    w = torch.tensor([1.0, 1.0], dtype=torch.float64)
    retain_centre = torch.tensor([0.0, 0.2], dtype=torch.float64)
    forget_centre = torch.tensor([-40.0, -60.0], dtype=torch.float64)

    def losses(at: Tensor) -> tuple[float, float]:
        return (
            0.5 * (at - retain_centre).square().sum().item(),
            0.5 * (at - forget_centre).square().sum().item(),
        )

    pair = Pair(w - retain_centre, w - forget_centre)
    before = losses(w)

    def after(weighting: Weighting) -> tuple[float, float]:
        return losses(w - 1e-4 * pair.direction(weighting(pair.gramian, LOSSES)))

    lower, higher = after(NGDiff())
    assert lower < before[0]
    assert higher > before[1]
    assert after(Linear(0.5))[0] > before[0]


# Scale


def scaled(pair: Pair, retain_scale: float, forget_scale: float) -> Pair:
    return Pair(retain_scale * pair.retain, forget_scale * pair.forget)


SCALES = [(1e-3, 1.0), (1.0, 1e3), (250.0, 1e-2), (1e4, 1e4)]


@pytest.mark.parametrize("scales", SCALES)
def test_ngdiff_does_not_change_with_the_scale_of_either_loss(scales: tuple[float, float]) -> None:
    for pair in PAIRS:
        larger = scaled(pair, *scales)
        before = pair.direction(NGDiff()(pair.gramian, LOSSES))
        after = larger.direction(NGDiff()(larger.gramian, LOSSES * torch.tensor(scales)))
        torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighting", [Linear(0.5), PCGrad()], ids=["graddiff", "pcgrad"])
def test_graddiff_and_pcgrad_turn_with_the_scale_of_a_loss(weighting: Weighting) -> None:
    pair = pair_at(1.0, 1.0, 1.0)
    larger = scaled(pair, 1.0, 100.0)
    before = unit(pair.direction(weighting(pair.gramian, LOSSES)))
    after = unit(larger.direction(weighting(larger.gramian, LOSSES)))
    assert (before @ after).item() < 0.95


def test_what_each_preset_makes_of_a_loss_that_grows_a_hundredfold() -> None:
    """Three kinds: the whole direction stays, it only changes its length, or it turns."""
    # The first step of guarded is at no bound.
    stays = {"ngdiff", "guarded", "nash_mtl", "loss_norm", "hamu_q"}
    lengthens = {"imtl_g", "gru"}  # gru with the forget loss alone
    turns = {"linear", "pcgrad", "mgda", "aligned_mtl", "gradvac", "fairgrad", "primal_dual", "rlw"}
    turns |= {"blur", "forget_dual"}
    if find_spec("cvxpy") and find_spec("quadprog"):
        turns |= WITH_SOLVERS
    assert stays | lengthens | turns >= {*NAMES} - WITH_SOLVERS
    pair = pair_at(1.0, 2.0, 3.0)
    for scales in ((1.0, 100.0), (100.0, 1.0)):
        larger = scaled(pair, *scales)
        losses = LOSSES * torch.tensor(scales, dtype=torch.float64)
        for name in stays | lengthens | turns:
            before = pair.direction(preset(name)(pair.gramian, LOSSES))
            after = larger.direction(preset(name)(larger.gramian, losses))
            cosine = (unit(before) @ unit(after)).item()
            if name in turns:
                assert cosine < 0.99, name
            else:
                assert cosine == pytest.approx(1, abs=1e-12), name
                same_length = math.isclose(before.norm(), after.norm(), rel_tol=1e-9)
                expected = name in stays or (name == "gru" and scales[1] == 1)
                assert same_length == expected, name


# Other people's closed forms


def test_ngdiff_is_parallel_to_imtl_g_of_torchjd() -> None:
    oracle = IMTLGWeighting()
    # Their pseudo-inverse drops the smaller eigenvalue where norms differ by seven decades.
    for pair in random_pairs(least=1e-2, most=1e2):
        if abs(pair.cosine) > 0.999:  # parallel gradients leave IMTL-G without a definition
            continue
        w_retain, w_forget = oracle(pair.gramian).tolist()
        theirs = unit(pair.direction((w_retain, w_forget)))
        ours = unit(pair.direction(NGDiff()(pair.gramian, LOSSES)))
        assert (ours @ theirs).item() == pytest.approx(1, abs=1e-6)


def test_imtl_g_has_the_shares_that_the_order_retain_forget_asks_for() -> None:
    pair = pair_at(1.2, 3.0, 0.5)
    shares = torch.tensor(NGDiff()(pair.gramian, LOSSES), dtype=torch.float64)
    expected = torch.tensor([0.5, 3.0], dtype=torch.float64) / 3.5  # each by the other's norm
    torch.testing.assert_close(shares / shares.sum(), expected)
    torch.testing.assert_close(IMTLGWeighting()(pair.gramian), expected)


def test_ngdiff_is_parallel_to_mgda_of_torchjd_on_unit_gradients() -> None:
    oracle = MGDAWeighting()
    for pair in GENERIC[:50]:
        units = Pair(unit(pair.retain), unit(pair.forget))
        w_retain, w_forget = oracle(units.gramian).tolist()
        theirs = unit(units.direction((w_retain, w_forget)))
        ours = unit(pair.direction(NGDiff()(pair.gramian, LOSSES)))
        assert (ours @ theirs).item() == pytest.approx(1, abs=1e-6)


def test_pcgrad_equals_torchjd() -> None:
    oracle = PCGradWeighting()
    for pair in PAIRS:
        assert PCGrad()(pair.gramian, LOSSES) == tuple(oracle(pair.gramian).tolist())


def test_pcgrad_leaves_neither_task_worse() -> None:
    for pair in GENERIC:
        d = pair.direction(PCGrad()(pair.gramian, LOSSES))
        assert (d @ unit(pair.retain)).item() >= -1e-12 * d.norm().item()
        assert (d @ unit(pair.forget)).item() <= 1e-12 * d.norm().item()


def test_mgda_has_the_direction_of_torchjd() -> None:
    oracle = MGDAWeighting()
    for pair in PAIRS:
        ours, theirs = (
            pair.direction((w_retain, w_forget))
            for w_retain, w_forget in (
                MGDA()(pair.gramian, LOSSES),
                oracle(pair.gramian).tolist(),
            )
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_mgda_is_the_shortest_of_all_convex_combinations() -> None:
    shares = torch.linspace(0, 1, 2001, dtype=torch.float64)
    for pair in random_pairs(least=1e-1, most=1e1):
        w_retain, w_forget = MGDA()(pair.gramian, LOSSES)
        assert w_retain + w_forget == pytest.approx(1, rel=1e-12)
        candidates = shares[:, None] * pair.retain - (1 - shares)[:, None] * pair.forget
        shortest = candidates.norm(dim=1).min().item()
        assert pair.direction((w_retain, w_forget)).norm().item() <= shortest * (1 + 1e-12)


def test_imtl_g_equals_torchjd() -> None:
    oracle = IMTLGWeighting()
    for pair in random_pairs(least=1e-2, most=1e2):
        if abs(pair.cosine) < 0.999:  # parallel gradients leave theirs to the pseudo-inverse
            theirs = pytest.approx(oracle(pair.gramian).tolist(), rel=1e-6)
            assert IMTLG()(pair.gramian, LOSSES) == theirs


def test_imtl_g_and_nash_mtl_have_the_direction_of_ngdiff_at_known_lengths() -> None:
    for pair in GENERIC:
        ngdiff = pair.direction(NGDiff()(pair.gramian, LOSSES))
        imtl_g = pair.direction(IMTLG()(pair.gramian, LOSSES))
        harmonic = 1 / (1 / pair.retain.norm() + 1 / pair.forget.norm())
        torch.testing.assert_close(imtl_g, harmonic * ngdiff, rtol=1e-9, atol=1e-15)
        for max_norm, length in ((1e9, math.sqrt(2)), (1.0, 1.0), (0.3, 0.3)):
            nash = pair.direction(NashMTL(max_norm)(pair.gramian, LOSSES))
            torch.testing.assert_close(nash, length * unit(ngdiff), rtol=1e-9, atol=1e-12)


def test_nash_mtl_solves_the_equation_that_defines_it() -> None:
    for pair in random_pairs():
        alpha = torch.tensor(NashMTL(max_norm=1e9)(pair.gramian, LOSSES), dtype=torch.float64)
        assert (alpha > 0).all()
        slack = 1e-13 / (1 - pair.cosine)  # what is left of 1 + cos of the minimised gradients
        torch.testing.assert_close(pair.gramian @ alpha, 1 / alpha, rtol=slack, atol=0)


@needs_solvers
@pytest.mark.filterwarnings("ignore:.*not DPP:UserWarning")
def test_nash_mtl_has_the_direction_and_length_of_torchjd() -> None:
    from torchjd.aggregation import NashMTL as Oracle

    # Where the conflict exceeds the smaller squared norm their solver returns its start, (1, 1).
    for angle, norms in (
        (0.4, (1.0, 1.0)),
        (1.6, (1.0, 3.0)),
        (1.8, (1.0, 1.1)),
        (2.2, (3.0, 1.0)),
    ):
        pair = pair_at(angle, *norms)
        assert pair.gramian.sum(0).min() > 0
        theirs = Oracle(n_tasks=2)(torch.stack([pair.retain, -pair.forget]))
        ours = pair.direction(NashMTL()(pair.gramian, LOSSES))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@needs_solvers
@pytest.mark.parametrize("name", ["cagrad", "upgrad"])
def test_the_adapter_says_what_torchjd_says(name: str) -> None:
    # Larger gradients than TorchJD's threshold for zero, and of one size: no regularisation shows.
    oracle = {"cagrad": CAGradWeighting(c=0.4), "upgrad": UPGradWeighting()}[name]
    ours = preset(name)
    for pair in random_pairs(20, least=0.9, most=1.1):
        expected = pytest.approx(oracle(pair.gramian).tolist(), rel=1e-3)
        assert ours(pair.gramian, LOSSES) == expected


def test_the_adapter_weighs_small_gradients_as_it_weighs_large_ones() -> None:
    for pair in random_pairs(20, least=0.9, most=1.1):
        for name in ("aligned_mtl", "fairgrad"):
            weighting = preset(name)
            tiny = scaled(pair, 1e-6, 1e-6)
            expected = pytest.approx(weighting(pair.gramian, LOSSES), rel=1e-4)
            assert weighting(tiny.gramian, LOSSES) == expected


def test_fairgrad_solves_the_equation_that_defines_it() -> None:
    for pair in random_pairs(20, least=0.3, most=3.0):
        weights = torch.tensor(preset("fairgrad")(pair.gramian, LOSSES), dtype=torch.float64)
        # (G·w)_i ∝ w_i^(−1/α), α = 2: the factor is what rescaling the Gramian leaves open.
        factors = (pair.gramian @ weights) * weights.sqrt()
        assert factors[0].item() == pytest.approx(factors[1].item(), rel=1e-4)


SIGN_KEEPING = ["ngdiff", "imtl_g", "nash_mtl", "mgda", "pcgrad", "fairgrad", "gru"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *SIGN_KEEPING,
        pytest.param("upgrad", marks=needs_solvers),
        pytest.param("dualproj", marks=needs_solvers),
    ],
)
def test_neither_task_is_left_worse_by(name: str) -> None:
    weighting = preset(name)
    for pair in random_pairs(100, least=1e-2, most=1e2):
        d = pair.direction(weighting(pair.gramian, LOSSES))
        slack = 1e-5 if name in WITH_SOLVERS else 1e-12  # theirs regularise the Gramian
        assert (d @ unit(pair.retain)).item() >= -slack * d.norm().item()
        assert (d @ unit(pair.forget)).item() <= slack * d.norm().item()


# What every weighting must bear


def near_zero_gramians() -> dict[str, Tensor]:
    """Gramians of gradients that vanish, explode, or are parallel up to rounding."""
    pairs = {
        f"norms {retain_norm:g} and {forget_norm:g}, angle {angle:.3g}": pair_at(
            angle, retain_norm, forget_norm
        ).gramian
        for retain_norm, forget_norm in product((0.0, 1e-20, 1e-10, 1.0, 1e3, 1e15), repeat=2)
        for angle in (0.0, 1.0, math.pi)
    }
    # Rounding may leave an inner product that no two vectors have, or that outlives a norm.
    rounded = {
        "more than parallel": [[1.0, 1.0 + 1e-7], [1.0 + 1e-7, 1.0]],
        "more than anti-parallel": [[1.0, -1.0 - 1e-7], [-1.0 - 1e-7, 1.0]],
        "retain norm lost": [[0.0, -1e-30], [-1e-30, 1.0]],
        "forget norm lost": [[1.0, -1e-30], [-1e-30, 0.0]],
    }
    return pairs | {name: torch.tensor(rows, dtype=torch.float64) for name, rows in rounded.items()}


def test_every_weighting_has_a_preset() -> None:
    runnable = {type(preset(name)) for name in NAMES if name not in WITH_SOLVERS}
    assert runnable == set(EXPORTED)


@pytest.mark.slow
@pytest.mark.parametrize("build", BUILDS)
def test_every_weighting_is_finite_on_degenerate_gramians(
    build: Callable[[], Weighting], caplog: pytest.LogCaptureFixture
) -> None:
    weighting = build()
    for name, gramian in near_zero_gramians().items():
        weights = weighting(gramian, LOSSES)
        assert len(weights) == 2, name
        for weight in weights:
            assert math.isfinite(weight), name
            assert abs(weight) <= LARGEST_FLOAT32, name  # it multiplies float32 gradients
        assert all(math.isfinite(value) for value in diagnose(gramian, weights).values()), name
    assert caplog.records == []  # no solver had to be replaced


@pytest.mark.parametrize("build", BUILDS)
def test_every_weighting_leaves_its_inputs_and_the_global_generator_alone(
    build: Callable[[], Weighting],
) -> None:
    gramian = pair_at(0.7, 2.0, 3.0).gramian
    kept, losses, generator = gramian.clone(), LOSSES.clone(), torch.get_rng_state()
    build()(gramian, losses)
    assert torch.equal(gramian, kept)
    assert torch.equal(losses, LOSSES)
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("build", BUILDS)
def test_every_weighting_goes_on_where_its_saved_state_left_off(
    build: Callable[[], Weighting],
) -> None:
    interrupted, pairs = build(), random_pairs(12, least=0.5, most=2.0)
    # A retain loss that rises, so that a dual variable has something to do.
    steps = [(pair.gramian, torch.tensor([0.5 + n / 20, -2.0])) for n, pair in enumerate(pairs)]
    for step in steps[:6]:
        interrupted(*step)
    file = io.BytesIO()
    torch.save(interrupted.state_dict(), file)
    expected = [interrupted(*step) for step in steps[6:]]
    file.seek(0)
    resumed = build()
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert [resumed(*step) for step in steps[6:]] == expected


@pytest.mark.parametrize("name", ["rlw", "primal_dual", "gradvac", "forget_dual"])
def test_a_weighting_with_memory_differs_without_its_state(name: str) -> None:
    """Otherwise the test above would say nothing about it."""
    used, fresh = preset(name), preset(name)
    steps = [
        (pair_at(angle, 1.0, 2.0).gramian, torch.tensor([loss, -2.0]))
        for angle, loss in ((2.8, 0.5), (2.8, 0.9), (0.4, 0.5))
    ]
    for step in steps[:2]:
        used(*step)
    assert used(*steps[2]) != fresh(*steps[2])


def test_a_zero_gradient_gets_the_weight_zero_from_ngdiff() -> None:
    zero, other = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    assert NGDiff()(Pair(zero, other).gramian, LOSSES) == (0.0, pytest.approx(3**-0.5))
    assert NGDiff()(Pair(other, zero).gramian, LOSSES) == (pytest.approx(3**-0.5), 0.0)
    assert NGDiff()(Pair(zero, zero).gramian, LOSSES) == (0.0, 0.0)


def test_a_zero_gradient_leaves_the_step_to_the_other_task() -> None:
    zero, other = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for weighting, left in ((IMTLG(), 1.0), (NashMTL(), 3**-0.5)):
        assert weighting(Pair(zero, other).gramian, LOSSES) == (0.0, pytest.approx(left))
        assert weighting(Pair(other, zero).gramian, LOSSES) == (pytest.approx(left), 0.0)
        assert weighting(Pair(zero, zero).gramian, LOSSES) == (0.0, 0.0)
    for pair in (Pair(zero, other), Pair(other, zero)):
        # MGDA by its definition: zero is itself the nearest point of the segment.
        assert pair.direction(MGDA()(pair.gramian, LOSSES)).norm() == 0


def test_mgda_halves_equal_gradients_and_nash_mtl_stops_where_no_bargain_is() -> None:
    gradient = torch.tensor([3.0, 4.0], dtype=torch.float64)
    # As minimised gradients: equal where the paper's are opposite, and the other way round.
    assert MGDA()(Pair(gradient, -gradient).gramian, LOSSES) == (0.5, 0.5)
    assert NashMTL()(Pair(gradient, gradient).gramian, LOSSES) == (0.0, 0.0)
    nash = NashMTL()(Pair(gradient, -gradient).gramian, LOSSES)
    assert nash == pytest.approx((0.1, 0.1))  # 1/5 each is the direction of length 2: half of it


@pytest.mark.parametrize("name", ["ngdiff", "pcgrad", "loss_norm", "imtl_g", "mgda", "nash_mtl"])
def test_exchanging_the_tasks_exchanges_the_weights(name: str) -> None:
    weighting = preset(name)
    for pair in PAIRS:
        exchanged = weighting(pair.gramian.flip(0, 1), LOSSES.flip(0))
        assert exchanged == pytest.approx(weighting(pair.gramian, LOSSES)[::-1], rel=1e-14, abs=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "linear",
        "aligned_mtl",
        "fairgrad",
        "gradvac",
        *(pytest.param(name, marks=needs_solvers) for name in sorted(WITH_SOLVERS)),
    ],
)
def test_exchanging_the_tasks_exchanges_the_weights_up_to_what_the_solver_leaves(name: str) -> None:
    for pair in random_pairs(30, least=1e-1, most=1e1):
        w_retain, w_forget = preset(name)(pair.gramian.flip(0, 1), LOSSES.flip(0))
        expected = pytest.approx((w_forget, w_retain), rel=1e-4, abs=1e-6)
        assert preset(name)(pair.gramian, LOSSES) == expected


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LossNorm(floor=0.0), "floor: 0.0; allowed: 1e-30 or more"),
        (lambda: LossNorm(floor=math.nan), "floor: nan; allowed"),
        (lambda: LossNorm(floor=math.inf), "floor: inf; allowed"),
        (lambda: RandomWeighting(seed=-1), "seed: -1; allowed: 0 up to"),
        (lambda: RandomWeighting(seed=2**63), "seed: 9223372036854775808; allowed"),
        (lambda: NashMTL(max_norm=0.0), "max_norm: 0.0; allowed: above 0"),
        (lambda: NashMTL(max_norm=math.nan), "max_norm: nan; allowed: above 0"),
        (lambda: PrimalDual(bound=math.inf), "bound: inf; allowed: any finite number"),
        (lambda: PrimalDual(slack=-0.1), "slack: -0.1; allowed: 0 or more"),
        (lambda: PrimalDual(step=0.0), "step: 0.0; allowed: above 0"),
        (lambda: PrimalDual(start=-1.0), r"start: -1.0; allowed: 0 to most \(100.0\)"),
        (lambda: PrimalDual(start=11.0, most=10.0), r"start: 11.0; allowed: 0 to most \(10.0\)"),
        (lambda: PrimalDual(most=0.0, start=0.0), "most: 0.0; allowed: above 0"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name_and_value(
    build: Callable[[], Weighting], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        build()


# Weightings by the losses, or by nothing


def test_loss_norm_divides_by_the_magnitudes() -> None:
    gramian = pair_at(1.0, 2.0, 3.0).gramian
    assert LossNorm()(gramian, torch.tensor([0.5, -2.0])) == (2.0, 0.5)
    assert LossNorm()(gramian, torch.tensor([0.5, 2.0])) == (2.0, 0.5)
    w_retain, w_forget = LossNorm()(gramian, LOSSES)
    assert w_retain / (w_retain + w_forget) == 2.0 / (0.5 + 2.0)  # c = L_F/(L_R + L_F)


def test_loss_norm_is_bounded_by_its_floor() -> None:
    gramian = pair_at(1.0, 2.0, 3.0).gramian
    for loss in (0.0, 1e-9, -1e-9):
        weights = LossNorm(floor=0.01)(gramian, torch.tensor([loss, 4.0], dtype=torch.float64))
        assert weights == (pytest.approx(100.0), 0.25)


def test_random_weights_are_the_softmax_of_normal_draws() -> None:
    gramian, weighting = pair_at(1.0, 2.0, 3.0).gramian, RandomWeighting(seed=5)
    drawn = torch.tensor([weighting(gramian, LOSSES) for _ in range(4000)], dtype=torch.float64)
    torch.testing.assert_close(drawn.sum(1), torch.ones(4000, dtype=torch.float64))
    # The log of the ratio is the difference of two N(0, 1): N(0, 2).
    logits = (drawn[:, 0] / drawn[:, 1]).log()
    assert logits.mean().item() == pytest.approx(0, abs=5 * math.sqrt(2 / 4000))
    assert logits.var().item() == pytest.approx(2, rel=5 * math.sqrt(2 / 4000))


def test_random_weights_follow_from_the_seed_alone() -> None:
    gramian = pair_at(1.0, 2.0, 3.0).gramian

    def three(seed: int) -> list[tuple[float, float]]:
        weighting = RandomWeighting(seed)
        return [weighting(gramian, LOSSES) for _ in range(3)]

    assert three(0) == three(0)
    assert three(0) != three(1)
    assert len(set(three(0))) == 3
    drawn_by_the_run = preset("rlw")(gramian, LOSSES)  # its seed is 3 in `preset`
    assert drawn_by_the_run == three(3)[0]


def test_the_dual_variable_follows_the_excess_within_its_limits() -> None:
    gramian = pair_at(1.0, 2.0, 3.0).gramian
    weighting = PrimalDual(bound=1.0, step=2.0, start=1.0, most=4.0)
    weights = [
        weighting(gramian, torch.tensor([loss, -2.0])) for loss in (1.5, 0.75, 3.0, 0.0, 0.0, 0.0)
    ]
    # 1 + 2·0.5, then − 2·0.25, then + 2·2 up to 4, then − 2 twice, and never below 0.
    assert [w_retain for w_retain, _ in weights] == [1.0, 2.0, 1.5, 4.0, 2.0, 0.0]
    assert {w_forget for _, w_forget in weights} == {1.0}
    weighting(gramian, torch.tensor([1.25, -2.0]))
    assert weighting(gramian, LOSSES) == (0.5, 1.0)  # it starts again from zero, not from below


def test_a_bound_left_open_is_the_slack_above_the_first_retain_loss() -> None:
    gramian = pair_at(1.0, 2.0, 3.0).gramian
    weighting = PrimalDual(slack=0.25, start=1.0)
    for loss, expected in ((2.0, 1.0), (2.25, 0.75), (2.5, 0.75), (9.0, 1.0)):
        assert weighting(gramian, torch.tensor([loss, -2.0]))[0] == expected


def test_the_dual_variable_finds_the_constrained_optimum() -> None:
    # L_forget = (w − 2)², L_retain = w² ≤ 1: the optimum is w = 1 with λ = 1.
    weighting, w = PrimalDual(bound=1.0, step=0.05, start=0.0), 0.0
    for _ in range(2000):
        losses = torch.tensor([w * w, (w - 2) ** 2], dtype=torch.float64)
        w_retain, w_forget = weighting(torch.eye(2), losses)
        w -= 0.05 * (w_retain * 2 * w + w_forget * 2 * (w - 2))
    assert w == pytest.approx(1, abs=1e-3)
    assert w_retain == pytest.approx(1, abs=1e-3)


# The adapter to TorchJD


def torchjd_weighting(name: str, **options: object) -> TorchJDWeighting:
    return TorchJDWeighting(f"torchjd.aggregation.{name}", options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("NoSuchWeighting", {}, "kind: .*NoSuchWeighting' does not exist; allowed: .*UPGradWeigh"),
        ("UPGrad", {}, "kind: .*UPGrad' does not weigh by the Gramian alone; allowed: "),
        ("MeanWeighting", {}, "kind: .*does not weigh by the Gramian alone"),
        ("MoDoWeighting", {}, "kind: .*does not weigh by the Gramian alone"),
        ("KrumWeighting", {"n_byzantine": 1}, "kind: .*cannot weigh two tasks: .*at least 4 rows"),
        ("FairGradWeighting", {}, "options: .*'alpha'; its options: alpha, max_iters"),
        ("GradVacWeighting", {"gamma": 1}, "options: .*'gamma'; its options: beta, eps"),
        ("GradVacWeighting", {"beta": 2}, "options: .*beta=2"),
        ("AlignedMTLWeighting", {"scale_mode": "max"}, "kind: .*scale_mode='max'"),
        ("AlignedMTLWeighting", {"pref_vector": [1.0, 1.0, 1.0]}, "kind: .*cannot weigh two"),
    ],
)
def test_a_class_or_option_that_does_not_fit_is_refused_at_once(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{message}") as caught:
        torchjd_weighting(name, **options)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("name", ["math.sqrt", "no_such.Weighting", "UPGradWeighting", ""])
def test_a_name_outside_torchjd_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^kind: '{name}' does not"):
        TorchJDWeighting(name)


@pytest.mark.parametrize(
    ("name", "options", "package"),
    [("CAGradWeighting", {"c": 0.4}, "cvxpy"), ("UPGradWeighting", {}, "quadprog")],
)
def test_missing_packages_are_named_with_the_command_that_brings_them(
    name: str, options: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchjd._mixins.find_spec", lambda name: None)
    message = rf"^kind: .*{package}.*installed\. .*: pip install '.*{package}.*'$"
    with pytest.raises(ConfigurationError, match=message):
        torchjd_weighting(name, **options)


def test_lists_are_preferences_of_retain_first() -> None:
    pair = pair_at(math.pi / 2, 1.0, 1.0)  # without a conflict nothing is realigned
    weights = torchjd_weighting("AlignedMTLWeighting", pref_vector=[0.7, 0.3])(pair.gramian, LOSSES)
    assert weights == pytest.approx((0.7, 0.3))


@pytest.mark.parametrize("answer", ["no convergence", "nan", "too large"])
def test_a_solver_that_fails_makes_an_equal_step_and_says_so(
    answer: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    weighting, gramian = torchjd_weighting("MGDAWeighting"), pair_at(1.0, 2.0, 3.0).gramian

    def forward(stat: Tensor) -> Tensor:
        if answer == "no convergence":
            raise ValueError(answer)
        return torch.tensor([1.0, math.nan if answer == "nan" else 1e39], dtype=torch.float64)

    monkeypatch.setattr(weighting._module, "forward", forward)
    with caplog.at_level(logging.WARNING):
        assert weighting(gramian, LOSSES) == (0.5, 0.5)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "MGDAWeighting failed" in caplog.text


def test_without_rescaling_torchjd_sees_the_gramian_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    gramian = pair_at(1.0, 0.02, 30.0).gramian
    for rescale, expected in ((False, gramian), (True, gramian / 900)):
        weighting = TorchJDWeighting("torchjd.aggregation.MGDAWeighting", {}, rescale)
        seen: list[Tensor] = []
        monkeypatch.setattr(
            weighting._module, "forward", lambda stat, seen=seen: (seen.append(stat), stat[0])[1]
        )
        weighting(gramian, LOSSES)
        torch.testing.assert_close(seen[0], expected)


def test_an_inner_product_that_no_two_vectors_have_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    weighting = torchjd_weighting("MGDAWeighting")
    seen: list[Tensor] = []
    monkeypatch.setattr(weighting._module, "forward", lambda stat: (seen.append(stat), stat[0])[1])
    for sign in (1.0, -1.0):
        impossible = torch.tensor([[4.0, sign * 2.1], [sign * 2.1, 1.0]], dtype=torch.float64)
        weighting(impossible, LOSSES)
        possible = torch.tensor([[1.0, sign / 2], [sign / 2, 0.25]], dtype=torch.float64)
        torch.testing.assert_close(seen.pop(), possible)


@needs_solvers
def test_the_default_regularisation_of_torchjd_loses_the_sign_that_the_preset_keeps() -> None:
    pair = pair_at(0.5, 0.01, 1.0)  # the retain gradient is a hundredth of the other
    lost = pair.direction(torchjd_weighting("UPGradWeighting")(pair.gramian, LOSSES))
    kept = pair.direction(preset("upgrad")(pair.gramian, LOSSES))
    assert (unit(lost) @ unit(pair.retain)).item() < -0.1
    assert (unit(kept) @ unit(pair.retain)).item() > -1e-5


# Linear scalarization


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_linear_weights_are_the_share_and_its_rest_and_known_beforehand(share: float) -> None:
    weighting = Linear(share)
    assert weighting.fixed == (share, 1 - share)
    for pair in EDGES:
        assert weighting(pair.gramian, LOSSES) == weighting.fixed


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, math.inf])
def test_a_share_outside_its_range_is_refused_by_name_and_value(share: float) -> None:
    with pytest.raises(ConfigurationError, match=f"retain_share: {share}.*allowed: 0 to 1"):
        Linear(share)


# What is logged of a step


def test_admissible_shares_are_those_that_keep_both_signs() -> None:
    shares = torch.linspace(0, 1, 4001, dtype=torch.float64)
    for pair in random_pairs(least=1e-1, most=1e1):
        low, high = admissible_shares(pair.gramian)
        directions = shares[:, None] * pair.retain - (1 - shares)[:, None] * pair.forget
        keeps = (directions @ pair.retain >= 0) & (directions @ pair.forget <= 0)
        inside = (shares >= low) & (shares <= high)
        away_from_borders = ((shares - low).abs() > 1e-9) & ((shares - high).abs() > 1e-9)
        assert torch.equal(keeps[away_from_borders], inside[away_from_borders])
        if pair.cosine <= 0:
            assert (low, high) == (0.0, 1.0)


def test_the_share_of_ngdiff_is_always_admissible() -> None:
    for pair in PAIRS:
        w_retain, w_forget = NGDiff()(pair.gramian, LOSSES)
        low, high = admissible_shares(pair.gramian)
        assert low * (1 - 1e-9) <= w_retain / (w_retain + w_forget) <= high * (1 + 1e-9)


def test_parallel_gradients_leave_a_single_share() -> None:
    for norms in product(NORMS, NORMS):
        low, high = admissible_shares(pair_at(0.0, *norms).gramian)
        assert low == pytest.approx(norms[1] / sum(norms), rel=1e-9)
        assert high == pytest.approx(low, rel=1e-9)


def test_diagnose_says_what_the_vectors_say() -> None:
    for number, pair in enumerate(GENERIC):
        weights = (0.3 + number, 2.0)
        said = diagnose(pair.gramian, weights)
        d, minimised = pair.direction(weights), -pair.forget
        low, high = admissible_shares(pair.gramian)
        assert said == {
            "train/retain_norm": pytest.approx(pair.retain.norm().item()),
            "train/forget_norm": pytest.approx(pair.forget.norm().item()),
            "train/cosine": pytest.approx(-pair.cosine),
            "train/retain_descent": pytest.approx(
                (d @ pair.retain).item(), abs=1e-9 * (d.norm() * pair.retain.norm()).item()
            ),
            "train/forget_descent": pytest.approx(
                (d @ minimised).item(), abs=1e-9 * (d.norm() * minimised.norm()).item()
            ),
            "train/share_low": low,
            "train/share_high": high,
        }
