"""What several seeds say: mean, deviation, and how far groups lie apart on the same seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation, 0 for a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


class Difference(NamedTuple):
    """The mean of paired differences, and its interval, null with fewer than two pairs."""

    mean: float
    low: float | None
    high: float | None
    pairs: int

    @property
    def apart(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def bootstrap_interval(
    values: Sequence[float], confidence: float = CONFIDENCE, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean (Efron and Tibshirani, 1993, ch. 13).

    The draws are seeded: equal values give an equal interval, and all intervals over the same
    number of values draw the same. With few values it is narrower than its confidence says: with
    three there are ten different means to draw from, and it reaches no farther than the values.

    Raises:
        ValueError: with fewer than two values, as nothing varies then.
    """
    if len(values) < 2:
        raise ValueError(f"an interval needs at least two values, found {len(values)}")
    means = np.asarray(values, dtype=float)[_draws(len(values), resamples)].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


@cache
def _draws(count: int, resamples: int) -> np.ndarray:
    """Indices drawn with replacement, shape (resamples, count)."""
    return np.random.default_rng(0).integers(0, count, size=(resamples, count))


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Return ours − theirs, values by seed, over the seeds that both have; null without any."""
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    differences = [ours[seed] - theirs[seed] for seed in seeds]
    mean = statistics.fmean(differences)
    if len(seeds) == 1:
        return Difference(mean, None, None, 1)
    return Difference(mean, *bootstrap_interval(differences), len(seeds))
