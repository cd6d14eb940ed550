"""Multiple choice: is the true answer the likeliest of all that are offered?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from unlearn.metrics.table import answers_of, require_same_indexes


def accuracy(table: pd.DataFrame) -> float:
    """Share of rows whose true answer has the largest summed log-likelihood −S of all choices.

    The choices of a row are its kinds "answer" and "perturbed". Sums, not means per token: this is
    `acc` of lm-evaluation-harness's multiple_choice, but for the end-of-answer token, which counts
    here (`acc_norm` divides by the length of the text). A tie is not right, so that equal choices
    give no share for nothing. Chance level: the mean over rows of 1 / number of choices, 0.25 with
    three wrong answers a row. NaN where any S is not finite.

    Raises UnlearnError where a row has the true answer or the wrong ones only.
    """
    right = answers_of(table, "answer")["nll_sum"].droplevel("number")
    wrong = answers_of(table, "perturbed")["nll_sum"].groupby("index").min()
    require_same_indexes(right.index, wrong.index, "answers", "answers of kind 'perturbed'")
    if not np.isfinite(table["nll_sum"]).all():
        return float("nan")
    return float((right < wrong).mean())
