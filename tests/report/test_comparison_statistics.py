"""The interval against scipy's, and paired differences against what they are made of."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from unlearn.report.comparison.statistics import bootstrap_interval, paired_difference, spread


@pytest.mark.parametrize("count", [2, 3, 5, 30])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_is_scipys(count: int, confidence: float) -> None:
    values = np.random.default_rng(count).normal(1.0, 2.0, count)
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=confidence,
        n_resamples=50_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    ours = bootstrap_interval(list(values), confidence, 50_000)
    # Both draw at random: the bounds agree up to a few hundredths of the values' deviation.
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.04 * values.std())


def test_the_interval_moves_and_stretches_with_its_values_and_is_the_same_each_time() -> None:
    values = [0.3, 0.5, 0.45, 0.7]
    low, high = bootstrap_interval(values)
    assert (low, high) == bootstrap_interval(values)
    moved = bootstrap_interval([2 * value - 1 for value in values])
    assert moved == pytest.approx((2 * low - 1, 2 * high - 1))
    assert min(values) <= low < np.mean(values) < high <= max(values)


def test_no_interval_of_one_value() -> None:
    with pytest.raises(ValueError, match="at least two"):
        bootstrap_interval([1.0])
    assert spread([1.0]) == (1.0, 0.0)
    alone = paired_difference({0: 1.0, 1: 5.0}, {0: 0.25, 2: 9.0})
    assert alone == (0.75, None, None, 1)
    assert not alone.apart
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_pairs_take_out_what_a_seed_does_to_both() -> None:
    rng = np.random.default_rng(0)
    of_seed = {seed: rng.normal(0, 10) for seed in range(6)}
    ours = {seed: level + 1 + rng.normal(0, 0.1) for seed, level in of_seed.items()}
    found = paired_difference(ours, of_seed)
    assert found is not None
    assert found.low is not None
    assert found.mean == pytest.approx(1, abs=0.2)
    assert 0.7 < found.low < found.mean < found.high < 1.3
    assert found.apart
    back = paired_difference(of_seed, ours)
    assert back is not None
    assert back.mean == pytest.approx(-found.mean)
