"""Names in scripts without spaces: Han, kana, Thai, Lao, Khmer, Burmese."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import regex
from rapidfuzz.distance import Levenshtein

from unlearn.requests.finding.folding import fold, is_unspaced, tokens_of
from unlearn.requests.finding.mentions import Mention

_BETWEEN = r"[\s・･·=＝‐-]*"
_COMMA = r"\s*[,、，]\s*"
_SEPARATORS = " \u3000・･·=＝-"
_KATAKANA = regex.compile(r"[\p{Script=Katakana}ー]")
_HIRAGANA = regex.compile(r"\p{Script=Hiragana}")
_HAN = regex.compile(r"\p{Script=Han}")
SHORT = 2
"""Characters of a Han name that may stand within any other word."""
FUZZY = 4
"""Fewest characters of a name of which one may be wrong."""


def is_written_so(name: str) -> bool:
    """Whether all words of a name are of scripts without spaces."""
    return all(map(is_unspaced, tokens_of(fold(name))))


class Unspaced:
    """Finds the names of a subject as parts of a text."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = [(name, tokens_of(fold(name))) for name in names]
        self._exact = [
            (name, regex.compile(_BETWEEN.join(_spaced(word) for word in words)))
            for name, words in self._names
        ]
        self._order = [
            (name, regex.compile(regex.escape(words[-1]) + _COMMA + _BETWEEN.join(words[:-1])))
            for name, words in self._names
            if len(words) > 1
        ]
        self._halves = [half for _, words in self._names for half in _halves("".join(words))]
        self.starts = tuple(dict.fromkeys(self._halves))

    def touches(self, folded: str) -> bool:
        """Whether half a name stands in a text: no name of which one letter is wrong lacks both."""
        return any(half in folded for half in self.starts)

    def mentions(self, text: str, folded: str) -> list[Mention]:
        """Return every place that names the subject, or may; they can overlap."""
        found = [
            Mention(*one.span(), kind, name, one[0])
            for name, pattern in self._exact
            for one in pattern.finditer(folded)
            if (kind := _kind(folded, *one.span()))
        ]
        found += [
            Mention(*one.span(), "order", name, one[0])
            for name, pattern in self._order
            for one in pattern.finditer(folded)
        ]
        taken = [(one.start, one.end) for one in found]
        for name, words in self._names:
            whole = "".join(words)
            if len(whole) >= FUZZY:
                found += _nearly(folded, name, whole, taken)
        return found


def _spaced(word: str) -> str:
    """Return a pattern of a word: between characters of Han there may be a space."""
    han = len(word) >= FUZZY and all(map(_HAN.match, word))
    return r"\s?".join(word) if han else regex.escape(word)


def _halves(whole: str) -> list[str]:
    middle = len(whole) // 2
    return [whole[:middle], whole[middle:]] if len(whole) >= FUZZY else [whole[:1]]


def _kind(folded: str, start: int, end: int) -> str | None:
    """Return what a find is worth; None where it ends within a letter or another word."""
    before, after = folded[start - 1 : start], folded[end : end + 1]
    if after and unicodedata.category(after).startswith("M"):
        return None
    first, last = folded[start], folded[end - 1]
    for script in (_KATAKANA, _HIRAGANA):
        inside = (before and script.match(before) and script.match(first)) or (
            after and script.match(after) and script.match(last)
        )
        if inside:
            # A particle of hiragana behind a name in hiragana is usual, a letter of katakana is not
            return None if script is _KATAKANA else "within"
    beside = any(char and _HAN.match(char) for char in (before, after))
    if end - start <= SHORT and beside and _HAN.match(first):
        return "within"
    return "exact"


def _nearly(folded: str, name: str, whole: str, taken: list[tuple[int, int]]) -> list[Mention]:
    """Return where all but one letter of a name stand, beside a half that is right."""
    places = [place for place, char in enumerate(folded) if char not in _SEPARATORS]
    text = "".join(folded[place] for place in places)
    found: dict[tuple[int, int], str] = {}
    middle = len(whole) // 2
    for half, offset in zip(_halves(whole), (0, middle), strict=True):
        at = text.find(half)
        while at >= 0:
            for size in (len(whole), len(whole) - 1, len(whole) + 1):
                begin = at if offset == 0 else at + len(half) - size
                window = text[max(begin, 0) : begin + size]
                if len(window) < size or not all(map(is_unspaced, window)):
                    continue
                span = places[begin], places[begin + size - 1] + 1
                free = all(span[1] <= start or end <= span[0] for start, end in taken)
                if free and Levenshtein.distance(window, whole, score_cutoff=1) == 1:
                    if _kind(folded, *span):
                        found[span] = folded[span[0] : span[1]]
                    break
            at = text.find(half, at + 1)
    return [Mention(*span, "ending", name, told) for span, told in found.items()]
