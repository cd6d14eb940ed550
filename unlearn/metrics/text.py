"""ROUGE recall of generated answers as TOFU computes it (Lin 2004; rouge-score, stemmer on)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer, Tokenizer

from unlearn.metrics.catalogue import WordRule
from unlearn.metrics.words import words_of


class UnicodeTokenizer(Tokenizer):
    """The words of every script for rouge_score; those of a-z and 0-9 it treats as its own."""

    def __init__(self, use_stemmer: bool = False) -> None:
        self._own = DefaultTokenizer(use_stemmer)

    def tokenize(self, text: str) -> list[str]:
        """Return the words in order, words of a-z over three letters stemmed where asked for."""
        return [
            part
            for word in words_of(text)
            for part in (self._own.tokenize(word) if word.isascii() else [word])
        ]


@cache  # the Porter stemmer is built with the tokenizer, so one serves all rows
def tokenizer_of(words: WordRule, stemmer: bool) -> Any:
    """Return what divides a text into the words that ROUGE compares."""
    return UnicodeTokenizer(stemmer) if words == "unicode" else DefaultTokenizer(stemmer)


def rouge(
    kinds: tuple[str, ...], truth: str, answer: str, words: WordRule, stemmer: bool
) -> dict[str, Any] | None:
    """Return rouge_score's scores by kind; None for a truth without a word, of which nothing can be
    said or left unsaid."""
    scores = _scorer(kinds, words, stemmer).score(target=truth, prediction=answer)
    nothing = not any(score.recall for score in scores.values())
    if nothing and not tokenizer_of(words, stemmer).tokenize(truth):
        return None
    return dict(scores)


def rouge_recall(
    truth: str, answer: str, words: WordRule = "tofu"
) -> tuple[float, float] | tuple[None, None]:
    """Share of the truth's words that the answer holds: (rougeL_recall, rouge1_recall), in [0, 1].

    rougeL_recall = longest common subsequence / words of the truth; rouge1_recall counts common
    words in any order, each as often as both sides have it. An answer loses nothing by being
    longer. Words are runs of a-z and 0-9 after lowercasing (`tofu`), or those of every script
    (`unicode`: :func:`unlearn.metrics.words.words_of`); those of a-z over three letters are
    stemmed. None twice for a truth that has no word.
    """
    scores = rouge(("rougeL", "rouge1"), truth, answer, words, stemmer=True)
    if scores is None:
        return None, None
    return float(scores["rougeL"].recall), float(scores["rouge1"].recall)


def repetition(answer: str, words: WordRule = "tofu") -> float:
    """Return the share of an answer's 4-grams of words that stood in it before, in [0, 1).

    1 − distinct 4-grams / 4-grams (seq-rep-4 of Welleck et al., 2020, arXiv 1908.04319). An answer
    of fewer than four words repeats nothing: 0. Words are those that ROUGE compares, unstemmed.
    """
    said = tokenizer_of(words, stemmer=False).tokenize(answer)
    grams = list(zip(said, said[1:], said[2:], said[3:], strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def mean_recall(pairs: Iterable[tuple[str, str]], words: WordRule) -> float | None:
    """Mean rougeL_recall of (truth, answer) pairs whose truth has a word; None where none has."""
    recalls = [rouge_recall(truth, answer, words)[0] for truth, answer in pairs]
    found = [recall for recall in recalls if recall is not None]
    return sum(found) / len(found) if found else None


@cache
def _scorer(kinds: tuple[str, ...], words: WordRule, stemmer: bool) -> RougeScorer:
    return RougeScorer(list(kinds), tokenizer=tokenizer_of(words, stemmer))
