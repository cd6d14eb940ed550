"""Membership attacks: can one tell from a model which rows it was trained on?

Each attack scores a row by how strange it is to the model, so that a row it has learnt gets a low
score; the AUC then says how well the scores of forget rows (label 0) and of holdout rows of the
same kind (label 1), which no model has seen, come apart: about ½ where the model cannot have seen
either, 1 where it recites the forget rows, below ½ where they were driven beyond unseen ones.
The attacks and their orientation are OpenUnlearning's (Dorna et al. 2025). Notation: ℓ_t = −log p_t
of token t, a = mean of ℓ over the answer.

The end token counts, in all of them. OpenUnlearning's code leaves it out of min-k and min-k++, and
counts it in the others: `end_token` false does likewise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from unlearn.errors import UnlearnError
from unlearn.metrics.table import (
    LIKELIHOODS,
    answers_of,
    mean_nll,
    require_same_indexes,
    token_lists,
    without_last,
)

PRIVLEAK_SHARE = 0.4
"""The k of min-k that privacy leakage is defined by (MUSE)."""

LEAST_VARIANCE = 1e-6
"""What OpenUnlearning's code raises the variance of min-k++ to."""


def auc(forget: pd.Series, holdout: pd.Series) -> float:
    """Area under the ROC curve with label 1 = holdout: P(s_h > s_f) + ½·P(s_h = s_f), in [0, 1].

    From the rank sum of the holdout rows, R: AUC = (R − n_h(n_h + 1)/2) / (n_f·n_h), tied scores
    sharing their mean rank (Mann & Whitney 1947). Infinite scores rank as such. NaN where any score
    is NaN.
    """
    scores = pd.concat([forget, holdout], ignore_index=True).astype(float)
    if scores.isna().any():
        return float("nan")
    of_holdout = len(holdout)
    rank_sum = float(scores.rank().iloc[len(forget) :].sum())  # method "average"
    return (rank_sum - of_holdout * (of_holdout + 1) / 2) / (len(forget) * of_holdout)


def privleak(attacked: float, reference: float) -> float:
    """Privacy leakage in per cent (MUSE, Shi et al. 2024, arXiv:2407.06460): 0 is ideal.

    privleak = 100·(A − A_ref) / A_ref, where A is MUSE's AUC of min-k at 40 %. MUSE ranks rows by
    likelihood, hence A = 1 − AUC of the attacks here, which are given for this model and for the
    reference model. About −100: the forget rows still look learnt; above 0: they look stranger than
    rows never seen. NaN where A_ref is 0, to which nothing can be compared.
    """
    likely, reference_likely = 1 - attacked, 1 - reference
    if reference_likely == 0:
        return float("nan")
    return 100 * (likely - reference_likely) / reference_likely


def loss_scores(table: pd.DataFrame) -> pd.Series:
    """The row's mean NLL, a (Yeom et al. 2018, arXiv:1709.01604)."""
    return mean_nll(table, "answer")


def zlib_scores(table: pd.DataFrame) -> pd.Series:
    """a / bytes of the answer's text compressed by zlib (Carlini et al. 2021, arXiv:2012.07805).

    A text that compresses well is likely to any model. `zlib_bytes` of the table holds the bytes.
    """
    return mean_nll(table, "answer") / answers_of(table, "answer")["zlib_bytes"].astype(float)


def min_k_scores(table: pd.DataFrame, share: float, end_token: bool = True) -> pd.Series:
    """Mean of ℓ over the `share` least likely tokens (Shi et al. 2023, arXiv:2310.16789).

    At least one token; the number of tokens is rounded down. `end_token` false leaves the last
    token of every row out.
    """
    rows = answers_of(table, "answer")
    lists = token_lists(rows, "token_log_p")
    values = [-_lowest(log_p, share) for log_p in (lists if end_token else without_last(lists))]
    return _finite_rows(rows, values)


def min_k_plus_plus_scores(table: pd.DataFrame, share: float, end_token: bool = True) -> pd.Series:
    """−mean of the `share` lowest z (Zhang et al. 2024, arXiv:2404.02936).

        z_t = (log p_t − μ_t) / σ_t,   μ_t = E_p[log p],   σ_t² = Var_p[log p]

    over the vocabulary at token t. Where σ² is 0 in float32 (one token has all of p) z is 0 at that
    token, and −∞ at any other. `end_token` false gives the score of OpenUnlearning's code: the last
    token of every row is left out, and σ² below 1e-6 is raised to 1e-6.
    """
    rows = answers_of(table, "answer")
    lists = [token_lists(rows, name) for name in LIKELIHOODS]
    if not end_token:
        log_ps, means, variances = map(without_last, lists)
        lists = [log_ps, means, [variance.clip(min=LEAST_VARIANCE) for variance in variances]]
    values = []
    for log_p, mean, variance in zip(*lists, strict=True):
        difference = log_p - mean
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(difference == 0, 0.0, difference / np.sqrt(variance))
        values.append(-_lowest(z, share))
    return _finite_rows(rows, values)


def reference_scores(table: pd.DataFrame, reference: pd.DataFrame) -> pd.Series:
    """a − a of the reference model on the same row (Carlini et al. 2021, arXiv:2012.07805).

    Raises UnlearnError unless both tables hold the same rows.
    """
    ours, theirs = mean_nll(table, "answer"), mean_nll(reference, "answer")
    require_same_indexes(ours.index, theirs.index, "this model", "the reference model")
    return ours - theirs


def gradient_norm_scores(table: pd.DataFrame) -> pd.Series:
    """‖∇a‖, the global L2 norm of the row's own gradient: what is learnt no longer pulls."""
    return answers_of(table, "answer")["gradient_norm"].astype(float)


def attack(score: Callable[[pd.DataFrame], pd.Series], tables: dict[str, pd.DataFrame]) -> float:
    """AUC of one attack on the tables of forget and holdout rows."""
    return auc(score(tables["forget"]), score(tables["holdout"]))


def _lowest(values: np.ndarray, share: float) -> float:
    """Mean of the lowest `share` of the values, at least one of them."""
    if not 0 < share <= 1:
        raise UnlearnError(f"share of tokens: {share}; allowed: above 0 up to 1")
    return float(np.sort(values)[: max(1, int(share * len(values)))].mean())


def _finite_rows(rows: pd.DataFrame, values: list[float]) -> pd.Series:
    """The scores by row; NaN where the NLL is not finite, which a broken forward pass leaves."""
    return pd.Series(values, index=rows.index).where(np.isfinite(rows["nll_sum"]))
