"""ROUGE recall of generated answers as TOFU computes it (Lin 2004; stemmer on).

The numbers are those of the package rouge-score to the last bit, with which tests compare them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from unlearn.metrics.catalogue import WordRule
from unlearn.metrics.porter import stem
from unlearn.metrics.words import words_of

STEMMED = 4
"""Letters from which a word is stemmed."""


class Overlap(NamedTuple):
    """What two texts have in common, as shares of either's words, in [0, 1]."""

    precision: float
    """Of the answer's words."""
    recall: float
    """Of the truth's words."""

    @property
    def f1(self) -> float:
        """2·P·R / (P + R); 0 where nothing is in common."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both > 0 else 0.0


def tokens_of(text: str, words: WordRule, stemmer: bool) -> list[str]:
    """Return the words that ROUGE compares, in order; those of a-z over three letters stemmed
    where asked for."""
    found = words_of(text) if words == "unicode" else re.findall("[a-z0-9]+", text.lower())
    if not stemmer:
        return found
    return [stem(w) if len(w) >= STEMMED and w.isascii() else w for w in found]


def rouge_l(truth: Sequence[str], answer: Sequence[str]) -> Overlap:
    """Return ROUGE-L: the longest common subsequence of words, over the words of either."""
    return _shares(longest_common(truth, answer), truth, answer)


def rouge_1(truth: Sequence[str], answer: Sequence[str]) -> Overlap:
    """Return ROUGE-1: words in common in any order, each as often as both sides have it."""
    return _shares((Counter(truth) & Counter(answer)).total(), truth, answer)


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence.

    Row by row of the usual table, a row as the bits of one number: a zero where the length grows
    (Hyyrö 2004, "Bit-parallel LCS-length computation revisited").
    """
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(one)) - 1
    row = every
    for word in other:
        met = row & places.get(word, 0)
        row = ((row + met) | (row - met)) & every
    return len(one) - row.bit_count()


def rouge_recall(
    truth: str, answer: str, words: WordRule = "tofu"
) -> tuple[float, float] | tuple[None, None]:
    """Share of the truth's words that the answer holds: (rougeL_recall, rouge1_recall), in [0, 1].

    rougeL_recall = longest common subsequence / words of the truth; rouge1_recall counts common
    words in any order, each as often as both sides have it. An answer loses nothing by being
    longer. Words are runs of a-z and 0-9 after lowercasing (`tofu`), or those of every script
    (`unicode`: :func:`unlearn.metrics.words.words_of`); those of a-z over three letters are
    stemmed. None twice for a truth that has no word, of which nothing can be said or left unsaid.
    """
    wanted, said = (tokens_of(text, words, stemmer=True) for text in (truth, answer))
    if not wanted:
        return None, None
    return rouge_l(wanted, said).recall, rouge_1(wanted, said).recall


def repetition(answer: str, words: WordRule = "tofu") -> float:
    """Return the share of an answer's 4-grams of words that stood in it before, in [0, 1).

    1 − distinct 4-grams / 4-grams (seq-rep-4 of Welleck et al., 2020, arXiv 1908.04319). An answer
    of fewer than four words repeats nothing: 0. Words are those that ROUGE compares, unstemmed.
    """
    said = tokens_of(answer, words, stemmer=False)
    grams = list(zip(said, said[1:], said[2:], said[3:], strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def mean_recall(pairs: Iterable[tuple[str, str]], words: WordRule) -> float | None:
    """Mean rougeL_recall of (truth, answer) pairs whose truth has a word; None where none has."""
    recalls = [rouge_recall(truth, answer, words)[0] for truth, answer in pairs]
    found = [recall for recall in recalls if recall is not None]
    return sum(found) / len(found) if found else None


def _shares(common: int, truth: Sequence[str], answer: Sequence[str]) -> Overlap:
    return Overlap(common / max(len(answer), 1), common / max(len(truth), 1))
