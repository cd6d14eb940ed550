"""METHODS.md 2: what holds for the weightings, over gradients of every size and angle.

Notation of the paper: g_R = ∇L_R, g_F = ∇L_F, θ the angle between them. What the weightings see is
the Gramian of the gradients being minimised, g_R and −g_F.
"""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torchjd.aggregation import IMTLGWeighting, MGDAWeighting, PCGradWeighting

import unlearn.weightings
from unlearn.errors import ConfigurationError
from unlearn.weightings import Linear, NGDiff, PCGrad, Weighting, admissible_shares, diagnose

LOSSES = torch.tensor([0.5, -2.0], dtype=torch.float64)
"""Retain NLL and, for ascent, minus the forget NLL."""
LARGEST_FLOAT32 = torch.finfo(torch.float32).max
OPTIONS: dict[str, dict[str, object]] = {}
"""Options of exported weightings that cannot be built without any."""

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


@pytest.mark.parametrize("kind", EXPORTED, ids=lambda kind: kind.__name__)
def test_every_weighting_is_finite_on_degenerate_gramians(kind: type[Weighting]) -> None:
    for name, gramian in near_zero_gramians().items():
        weights = kind(**OPTIONS.get(kind.__name__, {}))(gramian, LOSSES)
        assert len(weights) == 2, name
        for weight in weights:
            assert math.isfinite(weight), name
            assert abs(weight) <= LARGEST_FLOAT32, name  # it multiplies float32 gradients
        assert all(math.isfinite(value) for value in diagnose(gramian, weights).values()), name


@pytest.mark.parametrize("kind", EXPORTED, ids=lambda kind: kind.__name__)
def test_every_weighting_leaves_its_inputs_alone(kind: type[Weighting]) -> None:
    gramian = pair_at(0.7, 2.0, 3.0).gramian
    kept, losses = gramian.clone(), LOSSES.clone()
    kind(**OPTIONS.get(kind.__name__, {}))(gramian, losses)
    assert torch.equal(gramian, kept)
    assert torch.equal(losses, LOSSES)


def test_a_zero_gradient_gets_the_weight_zero_from_ngdiff() -> None:
    zero, other = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    assert NGDiff()(Pair(zero, other).gramian, LOSSES) == (0.0, pytest.approx(3**-0.5))
    assert NGDiff()(Pair(other, zero).gramian, LOSSES) == (pytest.approx(3**-0.5), 0.0)
    assert NGDiff()(Pair(zero, zero).gramian, LOSSES) == (0.0, 0.0)


@pytest.mark.parametrize(
    "weighting", [NGDiff(), PCGrad(), Linear(0.5)], ids=["ngdiff", "pcgrad", "graddiff"]
)
def test_exchanging_the_tasks_exchanges_the_weights(weighting: Weighting) -> None:
    for pair in PAIRS:
        exchanged = weighting(pair.gramian.flip(0, 1), LOSSES.flip(0))
        assert exchanged == weighting(pair.gramian, LOSSES)[::-1]


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
