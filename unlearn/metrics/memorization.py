"""How much of an answer a model can recite when it is led along the answer's own words.

Both count the end token unless told otherwise: a model that says every word and cannot stop does
not have the answer. OpenUnlearning's code leaves it out, which is another number: the same 40 rows
under one model had an extraction strength of .107 with it and of .212 without. `end_token` false
gives that code's number.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.errors import UnlearnError
from unlearn.metrics.table import HITS, answers_of, listed, token_lists, without_last


def exact_memorization(table: pd.DataFrame, end_token: bool = True) -> float:
    """Mean over rows of hits / tokens, in [0, 1], on the true answers of one split.

    `hits` counts the answer tokens (end-of-answer token included) that are the model's first choice
    given the true prefix (OpenUnlearning, Dorna et al. 2025, after Tirumala et al. 2022). It is a
    mean of each row's share, not a share of all tokens: a long answer counts as much as a short
    one. `end_token` false leaves the last token of every row out, as OpenUnlearning's code does.

    Raises UnlearnError where a row has fewer hits than 0 or more than it has tokens, or, without
    end tokens, where its hits are not known token by token.
    """
    rows = answers_of(table, "answer")
    if not rows["hits"].between(0, rows["tokens"]).all():
        wrong = rows.index[~rows["hits"].between(0, rows["tokens"])]
        raise UnlearnError(f"hits outside 0 .. tokens at (index, number) {listed(wrong.tolist())}")
    if not end_token:
        return float(np.mean([hits.mean() for hits in without_last(_hits_of(rows))]))
    return float((rows["hits"] / rows["tokens"]).to_numpy().mean())


def extraction_strength(table: pd.DataFrame, end_token: bool = True) -> float:
    """Mean over rows of 1 − k/L, in [0, 1], on the true answers of one split.

    L tokens (end-of-answer token included); k is the number of true tokens that a model must be
    given before it gets every one that follows right, k = 0 … L (Carlini et al. 2021; Dorna et al.
    2025). 1: it recites the whole answer; 0: even the last token is wrong.

    `end_token` false gives the number of OpenUnlearning's code instead: the last token of every row
    is left out, and k stops at L − 1, so that a model which is right nowhere still gets 1/L.

    Raises UnlearnError where a row's hits are not known token by token, or do not add up.
    """
    lists = _hits_of(answers_of(table, "answer"))
    if not end_token:
        return float(np.mean([max(1, _right_at_the_end(h)) / len(h) for h in without_last(lists)]))
    return float(np.mean([_right_at_the_end(hits) / len(hits) for hits in lists]))


def _hits_of(rows: pd.DataFrame) -> list[np.ndarray]:
    """The hits of every row token by token; raises UnlearnError where they do not add up."""
    lists = token_lists(rows, HITS)
    wrong = [
        place
        for place, hits, count in zip(rows.index, lists, rows["hits"], strict=True)
        if hits.sum() != count
    ]
    if wrong:
        raise UnlearnError(f"{HITS} and hits differ at (index, number) {listed(wrong)}")
    return lists


def _right_at_the_end(hits: np.ndarray) -> int:
    """L − k: tokens after the last wrong one."""
    misses = np.flatnonzero(~hits)
    return len(hits) - 1 - int(misses[-1]) if len(misses) else len(hits)
