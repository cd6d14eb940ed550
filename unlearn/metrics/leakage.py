"""leak@k: how often an answer comes out when a model is asked k times and draws its words."""

from __future__ import annotations

import math
from collections.abc import Sequence


def leak_at(k: int, right: Sequence[int], samples: int) -> float:
    """Return the mean over rows of 1 − C(n − c, k)/C(n, k), n = `samples`, c a row's `right` ones.

    The chance that of k answers at least one is right, estimated without bias from n ≥ k of them
    (pass@k of Chen et al. 2021, arXiv 2107.03374; for unlearning arXiv 2511.04934). k = 1: the
    share of right answers.
    """
    missed = [math.comb(samples - count, k) for count in right]
    return 1 - math.fsum(missed) / (len(right) * math.comb(samples, k))
