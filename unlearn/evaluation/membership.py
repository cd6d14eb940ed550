"""The privacy metrics of one stage: what each membership attack needs, and what is lacking."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd

from unlearn.metrics.privacy import (
    PRIVLEAK_SHARE,
    attack,
    auc,
    gradient_norm_scores,
    loss_scores,
    min_k_plus_plus_scores,
    min_k_scores,
    privleak,
    reference_scores,
    zlib_scores,
)
from unlearn.metrics.table import LIKELIHOODS

Tables = dict[str, pd.DataFrame]
MIN_K = ["token_log_p"]
"""What min_k reads of the score table beyond the usual columns."""


def membership(
    scores: pd.DataFrame,
    reference: pd.DataFrame | None,
    share: float,
    notes: list[str],
    unseen: str | None = "holdout",
    end_token: bool = True,
) -> dict[str, float]:
    """Return the AUC of every attack that the tables allow, and privacy leakage.

    The attacks tell apart the forget rows, which were learnt, and those of the split `unseen`, rows
    of their kind that never were. `share` is the k of min_k and min_k_plus_plus, and `end_token`
    whether they and privacy leakage count it. What cannot be measured goes to `notes`, but for
    gradient norms, which are there only where somebody asked for them. Raises UnlearnError where
    the reference was asked other questions.
    """
    tables = _tables(scores, unseen)
    if "forget" not in tables:
        return {}
    if "holdout" not in tables:
        notes.append("mia_*, privleak: not measured, as there are no holdout rows")
        return {}
    attacks: dict[str, tuple[Callable[[pd.DataFrame], pd.Series], list[str]]] = {
        "loss": (loss_scores, []),
        "zlib": (zlib_scores, ["zlib_bytes"]),
        "min_k": (partial(min_k_scores, share=share, end_token=end_token), MIN_K),
        "min_k_plus_plus": (
            partial(min_k_plus_plus_scores, share=share, end_token=end_token),
            list(LIKELIHOODS),
        ),
        "gradient_norm": (gradient_norm_scores, ["gradient_norm"]),
    }
    found = {}
    for name, (score, needed) in attacks.items():
        if _holds(tables, needed):
            found[f"mia_{name}"] = attack(score, tables)
        elif name != "gradient_norm":
            notes.append(f"mia_{name}: not measured, as the scores lack {needed[0]}")
    theirs = None if reference is None else _tables(reference, unseen)
    return found | _beside_reference(tables, theirs, notes, end_token)


def _beside_reference(
    tables: Tables, theirs: Tables | None, notes: list[str], end_token: bool
) -> dict[str, float]:
    """Return what takes the reference model's scores of the same rows."""
    if theirs is None:
        notes.append("mia_reference, privleak: not measured, as there is no reference model")
        return {}
    if lacking := [split for split in tables if split not in theirs]:
        notes.append(
            "mia_reference, privleak: not measured, as the reference has no scores of "
            + " and ".join(lacking)
        )
        return {}
    strangeness = {split: reference_scores(tables[split], theirs[split]) for split in tables}
    found = {"mia_reference": auc(strangeness["forget"], strangeness["holdout"])}
    if _holds(tables, MIN_K) and _holds(theirs, MIN_K):
        min_k = partial(min_k_scores, share=PRIVLEAK_SHARE, end_token=end_token)
        found["privleak"] = privleak(attack(min_k, tables), attack(min_k, theirs))
    else:
        notes.append("privleak: not measured, as scores of this model or the reference lack tokens")
    return found


def _tables(scores: pd.DataFrame, unseen: str | None) -> Tables:
    """Return the true answers that the attacks read, forget and holdout, where there are any."""
    answers = scores[scores["kind"] == "answer"]
    read = {"forget": "forget", "holdout": unseen}
    tables = {name: answers[answers["split"] == split] for name, split in read.items()}
    return {name: table for name, table in tables.items() if len(table)}


def _holds(tables: Tables, columns: list[str]) -> bool:
    return all(
        column in table and table[column].notna().all()
        for table in tables.values()
        for column in columns
    )
