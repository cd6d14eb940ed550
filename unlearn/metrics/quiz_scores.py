"""The scores of quizzes: what a model said held against the truth, and the mean of each quiz."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from unlearn.metrics.catalogue import WordRule
from unlearn.metrics.muse import rouge_f1
from unlearn.metrics.text import rouge_recall

SCORES = ("rougeL_f1", "rougeL_recall", "exact_match", "answer_match")
"""Keys of a line, of which a quiz writes one: `unlearn.data.splits.QuizScore`."""


def score_one(
    score: str, truths: Sequence[str], said: str, stemmer: bool, words: WordRule
) -> float | None:
    """Return the score of one text, in [0, 1]; None where the truth has no word to compare.

    `rougeL_f1`: MUSE's; `rougeL_recall`: TOFU's; `exact_match`: 1 where text and truth are the same
    but for case and the white space around them (LUME); `answer_match`: 1 where the text is one of
    `truths` but for case, punctuation, white space and the English articles (TriviaQA, SQuAD).
    Only the last reads more than the first truth.
    """
    if score == "rougeL_f1":
        return rouge_f1(truths[0], said, stemmer, words)
    if score == "rougeL_recall":
        return rouge_recall(truths[0], said, words)[0]
    if score == "exact_match":
        return float(said.strip().lower() == truths[0].strip().lower())
    return float(_bare(said) in {_bare(truth) for truth in truths})


def score_of(line: Mapping[str, Any]) -> float | None:
    """Return the score of a line of a quiz or of an answer, by whichever it was made."""
    return next((line[name] for name in SCORES if name in line), None)


def quiz_scores(generations: Iterable[Mapping[str, Any]]) -> dict[str, float | None]:
    """Mean score by quiz, under flat names: forget/verbmem, forget/knowmem …, in [0, 1].

    MUSE's own tables show the same numbers times 100. Rows without a score are left out; None where
    no row has one. Generations of no quiz are passed over.
    """
    scores: dict[str, list[float | None]] = {}
    for line in generations:
        if "quiz" in line:
            scores.setdefault(f"{line['split']}/{line['quiz']}", []).append(score_of(line))
    known = {name: [v for v in values if v is not None] for name, values in scores.items()}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}


def _bare(text: str) -> str:
    """A text in lower case, without punctuation and articles, its white space as single blanks."""
    plain = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())
