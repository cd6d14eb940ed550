"""Metrics of tables that were summarised before in this process, which take a tenth of a small run.

:func:`unlearn.evaluation.summarising.summarise` is a pure function, and tests/evaluation and
tests/metrics call it themselves: what it makes of the same tables of target and reference is kept
for all runs beside them.
"""

from __future__ import annotations

import pickle
from hashlib import sha256
from typing import Any

import pandas as pd

from unlearn.evaluation.results import Evaluation
from unlearn.evaluation.summarising import summarise

_kept: dict[bytes, bytes] = {}


def summarise_once(
    scores: pd.DataFrame,
    generations: list[dict[str, Any]],
    reference: Evaluation | None,
    *how: Any,
) -> Evaluation:
    """Summarise tables that were summarised before no second time; every answer is a copy."""
    theirs = None if reference is None else (reference.scores, reference.ratios)
    asked = sha256(pickle.dumps((scores, generations, theirs, how))).digest()
    if asked not in _kept:
        found = summarise(scores, generations, reference, *how)
        _kept[asked] = pickle.dumps((found.metrics, found.ratios, found.notes))
    return Evaluation(scores, generations, *pickle.loads(_kept[asked]))
