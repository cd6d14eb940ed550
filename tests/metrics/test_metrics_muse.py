"""MUSE's text metrics by hand, by a longest common subsequence of our own, and by rouge-score."""

from __future__ import annotations

import random
import re

import pytest
from rouge_score.rouge_scorer import RougeScorer
from support import muse_like

from unlearn.metrics.muse import answer_only, rouge_f1
from unlearn.metrics.quiz_scores import quiz_scores


@pytest.mark.parametrize(
    ("truth", "answer", "expected"),
    [
        # Four words in order (the cat on mat) of six and of five: 2·4 / (6 + 5).
        ("The cat sat on the mat.", "the cat lay on mat", 8 / 11),
        ("one two three", "one two three", 1),
        ("one two three", "three two one", 1 / 3),  # order counts
        ("one two", "one two three four five six", 2 * 2 / (2 + 6)),  # and so does length
        ("one two", "three four", 0),
        ("one two", "", 0),
        ("day one", "день первый", 0),
    ],
)
def test_by_hand(truth: str, answer: str, expected: float) -> None:
    assert rouge_f1(truth, answer) == pytest.approx(expected, abs=1e-12)
    assert rouge_f1(truth, answer, stemmer=True) == pytest.approx(expected, abs=1e-12)


def test_a_truth_without_a_word_has_no_score_and_counts_in_no_mean() -> None:
    assert rouge_f1("день первый", "день первый") is None  # by MUSE's own words, a-z and 0-9
    assert rouge_f1("день первый", "день второй", words="unicode") == 0.5
    assert rouge_f1("?!", "?!", words="unicode") is None
    scores = [None, 0.5, 1.0, None]
    lines = [{"split": "forget", "quiz": "knowmem", "rougeL_f1": score} for score in scores]
    assert quiz_scores(lines) == {"forget/knowmem": 0.75}
    assert quiz_scores(lines[:1]) == {"forget/knowmem": None}


def test_only_the_stemmer_sees_one_word_in_two_forms() -> None:
    truth, answer = "painted pictures", "painting picture"
    assert rouge_f1(truth, answer) == 0
    assert rouge_f1(truth, answer, stemmer=True) == 1


def longest_common(one: list[str], other: list[str]) -> int:
    """Length of the longest common subsequence, by the recurrence itself."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = row
        row = [0]
        for place, second in enumerate(other, start=1):
            same = before[place - 1] + 1
            row.append(same if word == second else max(before[place], row[-1]))
    return row[-1]


def samples() -> list[tuple[str, str]]:
    """Pairs of texts that share much, little and nothing."""
    draw = random.Random(0)
    texts = [muse_like.article(number) for number in range(12)]
    pairs = [(one, other) for one in texts[:4] for other in texts[4:]]
    for text in texts:
        words = text.split()
        pairs.append((text, " ".join(draw.sample(words, len(words) // 2))))
        pairs.append((text, text[: len(text) // 3]))
    return pairs


def test_against_a_subsequence_of_our_own() -> None:
    for truth, answer in samples():
        words = [re.findall(r"[a-z0-9]+", text.lower()) for text in (truth, answer)]
        common = longest_common(*words)
        expected = 2 * common / sum(map(len, words))
        assert rouge_f1(truth, answer) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("stemmer", [False, True])
def test_against_rouge_score(stemmer: bool) -> None:
    scorer = RougeScorer(["rougeL"], use_stemmer=stemmer)
    for truth, answer in samples():
        assert rouge_f1(truth, answer, stemmer) == scorer.score(truth, answer)["rougeL"].fmeasure
    stemmed = [rouge_f1(*pair, True) != rouge_f1(*pair, False) for pair in samples()]
    assert any(stemmed)  # the option is not idle on these texts


@pytest.mark.parametrize(
    ("generated", "answer"),
    [
        ("In Varn.", "In Varn."),
        ("In Varn.\n\nQuestion: And then?", "In Varn."),
        ("In Varn.\nQuestion: And then?", "In Varn."),
        ("In Varn. Question: And then?", "In Varn. "),
        ("In Varn.\nIn May.\n\n\nMore", "In Varn.\nIn May."),
        ("A question of time.", "A question of time."),
        ("The Question of time.", "The Question of time."),  # only where a line begins
        ("\n\nIn Varn.", ""),
        ("", ""),
    ],
)
def test_an_answer_ends_where_the_next_question_begins(generated: str, answer: str) -> None:
    assert answer_only(generated) == answer


def test_a_quiz_scores_the_mean_of_its_lines_and_nothing_else() -> None:
    lines = [
        {"split": "forget", "quiz": "verbmem", "rougeL_f1": 0.25},
        {"split": "forget", "quiz": "verbmem", "rougeL_f1": 0.75},
        {"split": "forget", "quiz": "knowmem", "rougeL_f1": 1.0},
        {"split": "retain", "quiz": "knowmem", "rougeL_f1": 0.125},
        {"split": "retain", "rougeL_recall": 0.9},
    ]
    assert quiz_scores(lines) == {
        "forget/verbmem": 0.5,
        "forget/knowmem": 1.0,
        "retain/knowmem": 0.125,
    }
    assert quiz_scores([]) == {}
