"""How much of an answer a model can recite when it is led along the answer's own words."""

from __future__ import annotations

import pandas as pd

from unlearn.errors import UnlearnError
from unlearn.metrics.table import answers_of, listed


def exact_memorization(table: pd.DataFrame) -> float:
    """Mean over rows of hits / tokens, in [0, 1], on the true answers of one split.

    `hits` counts the answer tokens (end-of-answer token included) that are the model's first choice
    given the true prefix (OpenUnlearning, Dorna et al. 2025, after Tirumala et al. 2022). It is a
    mean of each row's share, not a share of all tokens: a long answer counts as much as a short
    one.

    Raises UnlearnError where a row has fewer hits than 0 or more than it has tokens.
    """
    rows = answers_of(table, "answer")
    if not rows["hits"].between(0, rows["tokens"]).all():
        wrong = rows.index[~rows["hits"].between(0, rows["tokens"])]
        raise UnlearnError(f"hits outside 0 .. tokens at (index, number) {listed(wrong.tolist())}")
    return float((rows["hits"] / rows["tokens"]).to_numpy().mean())
