"""ROUGE recall of generated answers as TOFU computes it (Lin 2004; rouge-score, stemmer on)."""

from __future__ import annotations

from collections.abc import Iterable

from rouge_score.rouge_scorer import RougeScorer

# The Porter stemmer is built with the scorer, so one scorer serves all rows.
_SCORER = RougeScorer(["rougeL", "rouge1"], use_stemmer=True)


def rouge_recall(truth: str, answer: str) -> tuple[float, float]:
    """Share of the truth's words that the answer holds: (rougeL_recall, rouge1_recall), in [0, 1].

    rougeL_recall = longest common subsequence / words of the truth; rouge1_recall counts common
    words in any order, each as often as both sides have it. An answer loses nothing by being
    longer. Words are runs of a-z and 0-9 after lowercasing, words over three letters stemmed; a
    text in another script therefore has no words and scores 0 whatever the answer.
    """
    scores = _SCORER.score(target=truth, prediction=answer)
    return float(scores["rougeL"].recall), float(scores["rouge1"].recall)


def rouge_recalls(pairs: Iterable[tuple[str, str]]) -> list[tuple[float, float]]:
    """`rouge_recall` of each (truth, answer) pair, in order."""
    return [rouge_recall(truth, answer) for truth, answer in pairs]
