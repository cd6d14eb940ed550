"""Which split feeds which metric: TOFU's suite, as a pure function of the tables of one stage.

A data set with quizzes (MUSE) has them besides: its texts are scored but not asked, and what it
measures of utility is a quiz, not TOFU's mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from unlearn.data.refusals import REFUSALS
from unlearn.data.splits import Judged, judgement, unseen_of
from unlearn.data.telling import few
from unlearn.evaluation.cut import REQUEST
from unlearn.evaluation.membership import membership
from unlearn.evaluation.results import Evaluation
from unlearn.metrics.catalogue import WordRule
from unlearn.metrics.choice import accuracy
from unlearn.metrics.memorization import exact_memorization, extraction_strength
from unlearn.metrics.privacy import PRIVLEAK_SHARE
from unlearn.metrics.quiz_scores import quiz_scores, score_of
from unlearn.metrics.refusing import refuses
from unlearn.metrics.table import HITS, sorted_once
from unlearn.metrics.task_aggregate import lume_score
from unlearn.metrics.text import repetition
from unlearn.metrics.tofu import (
    RATIO_NAMES,
    UTILITY_SPLITS,
    TruthRatioForm,
    choice_probability,
    forget_quality,
    forget_truth_ratio,
    kept_truth_ratio,
    loss,
    model_utility,
    probability,
    truth_ratio_rows,
)

UTILITY_NAMES: dict[TruthRatioForm, str] = {
    "geometric": "model_utility",
    "arithmetic": "model_utility_arithmetic",
}
KEPT = ("retain", "general", *UTILITY_SPLITS[1:])
"""The splits whose knowledge is useful, in the order in which notes name them."""
NAMED = 10
"""Rows that a note names at most."""


@sorted_once()
def summarise(
    scores: pd.DataFrame,
    generations: list[dict[str, Any]],
    reference: Evaluation | None,
    min_k: float = PRIVLEAK_SHARE,
    judged: Mapping[str, Judged] | None = None,
    words: WordRule = "tofu",
    end_token: bool = True,
) -> Evaluation:
    """Compute every metric that the tables allow: a pure function of them.

    `min_k` is the share of tokens that the membership attacks min_k and min_k_plus_plus read;
    `judged` is what the reader says of its splits, `words` what is a word of an answer, and
    `end_token` whether what is counted token by token counts it. Seven parameters: the tables
    (three), and what a configuration and a reader may change of how they are read.
    """
    metrics: dict[str, float | None] = {}
    notes: list[str] = []
    ratios: dict[str, pd.Series] = {}
    for split, table in scores.groupby("split", sort=False):
        how, has_wrong = judgement(split, judged), has_wrong_answers(table)
        metrics[f"{split}/loss"] = loss(table)
        if how.among_choices and has_wrong:
            metrics[f"{split}/probability"] = choice_probability(table)
        else:
            metrics[f"{split}/probability"] = probability(table)
        if how.chosen:
            metrics[f"{split}/accuracy"] = accuracy(table)
        counted = end_token or how.form == "continuation"  # which has no end token to leave out
        metrics[f"{split}/exact_memorization"] = exact_memorization(table, counted)
        if how.recited and HITS in table:
            metrics[f"{split}/extraction_strength"] = extraction_strength(table, end_token)
        if not has_wrong:
            notes.append(f"{split}: no truth ratio, as its rows have no wrong answers")
            continue
        for form, name in RATIO_NAMES.items():
            rows = truth_ratio_rows(table, form)
            ratio = forget_truth_ratio if how.role == "forget" else kept_truth_ratio
            metrics[f"{split}/{name}"] = ratio(rows)
            if split == REQUEST:
                ratios[form] = rows
    quizzes = quiz_scores(generations)
    metrics |= quizzes | lume_score(quizzes)
    answers = pd.DataFrame([line for line in generations if "quiz" not in line])
    if len(answers):
        for split, rows in answers.groupby("split", sort=False):
            for name in ("rougeL_recall", "rouge1_recall"):
                known = rows[name].dropna()
                metrics[f"{split}/{name}"] = float(known.mean()) if len(known) else None
            shares = [repetition(str(answer), words) for answer in rows["answer"]]
            metrics[f"{split}/repetition"] = math.fsum(shares) / len(shares)
            refused = [refuses(str(answer), REFUSALS) for answer in rows["answer"]]
            metrics[f"{split}/refusals"] = sum(refused) / len(refused)
    notes += without_words(generations)
    if not quizzes:
        metrics |= utility(metrics, notes)
    metrics |= compare_with_reference(ratios, reference, notes)
    unseen = unseen_of(map(str, scores["split"].unique()), judged)
    theirs = None if reference is None else reference.scores
    metrics |= membership(scores, theirs, min_k, notes, unseen, end_token)
    finite = {k: v if v is not None and math.isfinite(v) else None for k, v in metrics.items()}
    broken = [name for name, value in metrics.items() if value is not None and finite[name] is None]
    if broken:
        notes.append(f"not finite, so null: {', '.join(broken)}")
    return Evaluation(scores, generations, finite, ratios, notes)


def utility(metrics: Mapping[str, float | None], notes: list[str]) -> dict[str, float | None]:
    """Return model utility in both forms, over the kept splits that the data have.

    With TOFU's splits it is TOFU's. One line notes what it is made of where that is less or other.
    """
    splits = [s for s in KEPT if any(name.startswith(f"{s}/") for name in metrics)]
    found = {name: model_utility(metrics, form, splits) for form, name in UTILITY_NAMES.items()}
    _, left_out = found["model_utility"]
    others = [] if set(splits) >= set(UTILITY_SPLITS) else [f"over {' and '.join(splits)} alone"]
    if left_out:
        others.append(f"without {', '.join(left_out)}")
    if not splits:
        others = ["not measured, as the data have no rows to keep"]
    if others:
        notes.append(f"model_utility: {', '.join(others)}")
    return {name: value for name, (value, _) in found.items()}


def without_words(generations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Count and name the rows that have no ROUGE, by split or quiz: their truth has no word."""
    asked: dict[str, list[Mapping[str, Any]]] = {}
    for line in generations:
        place = f"{line['split']}/{line['quiz']}" if "quiz" in line else str(line["split"])
        asked.setdefault(place, []).append(line)
    notes = []
    for place, lines in asked.items():
        null = [str(line["index"]) for line in lines if score_of(line) is None]
        if null:
            notes.append(
                f"{place}: {len(null)} of {len(lines)} rows have no ROUGE and are left out of its "
                f"mean, as their true answer has no word (index {few(null, most=NAMED)})"
            )
    return notes


def has_wrong_answers(table: pd.DataFrame) -> bool:
    """Return whether every row of a split has wrong answers to compare its right one with."""
    wrong = table.loc[table["kind"] == "perturbed", "index"]
    return set(wrong) == set(table["index"])


def compare_with_reference(
    ratios: dict[str, pd.Series], reference: Evaluation | None, notes: list[str]
) -> dict[str, float]:
    """Return forget quality, p and D, where there is a reference to compare with."""
    if "geometric" not in ratios:
        return {}
    if reference is None:
        notes.append("forget_quality: not measured, as there is no reference model")
        return {}
    p, distance = forget_quality(ratios["geometric"], reference.ratios["geometric"])
    return {"forget_quality": p, "forget_quality_D": distance}
