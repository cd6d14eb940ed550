"""The Pareto front against its definition, the hypervolume against counted points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unlearn.report import hypervolume, pareto_front

NAN = float("nan")
CORNER = (1.0, 0.0)


def dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] <= b[0] and a[1] >= b[1] and a != b


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_its_definition_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # On a coarse grid, so that there are ties and duplicates.
    points = [(int(x) / 6, int(y) / 6) for x, y in rng.integers(0, 7, size=(25, 2))]
    expected = {i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)}
    found = pareto_front(points)
    assert set(found) == expected
    assert len(found) == len(expected)
    assert [points[i][0] for i in found] == sorted(points[i][0] for i in found)


def test_ties_duplicates_and_what_was_not_measured() -> None:
    points = [(0.2, 0.5), (0.2, 0.6), (NAN, 1.0), (0.2, 0.6), (0.3, 0.6), (0.0, NAN), (0.5, 0.9)]
    assert pareto_front(points) == [1, 3, 6]
    assert pareto_front([]) == []
    assert pareto_front([(NAN, NAN)]) == []
    assert pareto_front([(0.1, -math.inf), (0.2, 0.3)]) == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_the_hypervolume_is_the_share_of_the_plane_that_is_dominated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = [tuple(point) for point in rng.random((8, 2))]
    grid = (np.arange(1000) + 0.5) / 1000
    x, y = np.meshgrid(grid, grid)
    covered = np.zeros_like(x, dtype=bool)
    for px, py in points:
        covered |= (x >= px) & (y <= py)
    assert hypervolume(points, CORNER) == pytest.approx(covered.mean(), abs=5e-3)


def test_only_the_front_counts_for_the_hypervolume() -> None:
    rng = np.random.default_rng(0)
    points = [tuple(point) for point in rng.random((30, 2))]
    front = [points[i] for i in pareto_front(points)]
    whole = hypervolume(points, CORNER)
    assert hypervolume(front, CORNER) == pytest.approx(whole)
    assert hypervolume([*front, front[0], (NAN, 0.5), (1.2, 0.9), (0.1, -0.2)], CORNER) == (
        pytest.approx(whole)
    )
    assert hypervolume([], CORNER) == 0.0
    assert hypervolume([(0.25, 0.5)], CORNER) == pytest.approx(0.375)
    assert hypervolume([(0.0, 1.0)], CORNER) == 1.0


def test_an_endless_area_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        hypervolume([(0.5, 0.5)], (math.inf, 0.0))
    with pytest.raises(ValueError, match="infinite"):
        hypervolume([(-math.inf, 0.5)], CORNER)
