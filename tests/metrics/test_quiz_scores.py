"""Scores of quizzes and LUME's aggregate, by hand and by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import hmean
from support.muse_like import article

from unlearn.metrics.quiz_scores import quiz_scores, score_of, score_one
from unlearn.metrics.task_aggregate import TERMS, lume_score


@pytest.mark.parametrize(
    ("truth", "said", "expected"),
    [
        ("Marguerite Sayers", " marguerite sayers\n", 1),
        ("Marguerite Sayers", "Marguerite Sayers.", 0),
        ("900123125", "900 123 125", 0),
        ("", " ", 1),
    ],
)
def test_exact_match_sees_neither_case_nor_white_space_around(
    truth: str, said: str, expected: int
) -> None:
    assert score_one("exact_match", (truth, "another"), said, False, "tofu") == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("the Isle of  Varn!", 1),
        ("VARN", 1),
        ("Isle of Varn, or so", 0),
        ("", 0),
    ],
)
def test_answer_match_takes_any_of_the_right_answers(said: str, expected: int) -> None:
    truths = ("Varn", "an Isle of Varn.")
    assert score_one("answer_match", truths, said, False, "tofu") == expected


def test_recall_is_that_of_rouge_score_with_its_stemmer() -> None:
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    for number in range(20):
        truth, said = article(number), article(number + 1)
        theirs = scorer.score(truth, said)["rougeL"].recall
        assert score_one("rougeL_recall", (truth,), said, False, "tofu") == theirs
    assert score_one("rougeL_recall", ("?!",), "word", False, "tofu") is None


def test_the_mean_is_of_whichever_score_a_quiz_has() -> None:
    lines = [
        {"split": "forget", "quiz": "knowledge_task1", "exact_match": 1.0},
        {"split": "forget", "quiz": "knowledge_task1", "exact_match": 0.0},
        {"split": "forget", "quiz": "level1", "rougeL_recall": 0.25},
        {"split": "forget", "rougeL_recall": 1.0},
    ]
    assert quiz_scores(lines) == {"forget/knowledge_task1": 0.5, "forget/level1": 0.25}
    assert [score_of(line) for line in lines] == [1.0, 0.0, 0.25, 1.0]
    assert score_of({"split": "forget"}) is None


def test_lume_is_the_harmonic_mean_of_its_twelve_terms() -> None:
    values = np.random.default_rng(0).uniform(0.05, 0.95, 12)
    scores = dict(zip(TERMS, values.tolist(), strict=True))
    terms = [1 - v if name.startswith("forget") else v for name, v in scores.items()]
    assert lume_score(scores)["lume_score"] == pytest.approx(hmean(terms), rel=1e-12)
    assert lume_score({**scores, "forget/knowledge_task1": 1.0}) == {"lume_score": 0.0}
    assert lume_score({**scores, "retain/knowledge_task1": None}) == {"lume_score": None}
    scores.pop("retain/knowledge_task3")
    assert lume_score(scores) == {}
    perfect = {name: float(name.startswith("retain")) for name in TERMS}
    assert lume_score(perfect) == {"lume_score": 1.0}
