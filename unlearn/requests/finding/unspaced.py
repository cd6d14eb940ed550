"""Names in scripts without spaces: Han, kana, Thai, Lao, Khmer, Burmese."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise

import regex
from rapidfuzz.distance import OSA

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
LONG = 9
"""Fewest of a name of which two may be."""


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
        pieces = [
            piece
            for _, words in self._names
            for word in words
            for piece in (_pieces(word, 1) if len(words) == 1 or len(word) > 5 else [word])
        ]
        self.starts = tuple(dict.fromkeys(pieces))

    def touches(self, folded: str) -> bool:
        """Whether a piece of a name stands in a text: few wrong letters leave one right."""
        return any(half in folded for half in self.starts)

    def mentions(self, text: str, folded: str) -> list[Mention]:
        """Return every place that names the subject, or may; they can overlap."""
        found = [
            Mention(one.start(), one.end(), kind, name, one[0])
            for name, pattern in self._exact
            for one in pattern.finditer(folded)
            if (kind := _kind(folded, *one.span()))
        ]
        found += [
            Mention(one.start(), one.end(), "order", name, one[0])
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


def _pieces(whole: str, edits: int) -> list[str]:
    """Cut a name into one piece more than letters may be wrong: one of them is right."""
    if len(whole) < FUZZY:
        return [whole[:1]]
    ends = [len(whole) * number // (edits + 1) for number in range(edits + 2)]
    return [whole[start:end] for start, end in pairwise(ends)]


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
    """Return where all but one letter of a name stand, or all but two of a long one."""
    places = [place for place, char in enumerate(folded) if char not in _SEPARATORS]
    text = "".join(folded[place] for place in places)
    edits = 1 if len(whole) < LONG else 2
    found: dict[tuple[int, int], str] = {}
    offset = 0
    for piece in _pieces(whole, edits):
        at = text.find(piece)
        while at >= 0:
            spans = {
                (places[start], places[end - 1] + 1): text[start:end]
                for start, end in _windows(text, at - offset, len(whole), edits)
            }
            near = [
                (distance, abs(len(window) - len(whole)), span)
                for span, window in spans.items()
                if 0 < (distance := OSA.distance(window, whole, score_cutoff=edits)) <= edits
                and all(span[1] <= start or end <= span[0] for start, end in taken)
                and _kind(folded, *span)
            ]
            if near:
                span = min(near)[2]
                found[span] = folded[span[0] : span[1]]
            at = text.find(piece, at + 1)
        offset += len(piece)
    return [Mention(*span, "ending", name, told) for span, told in found.items()]


def _windows(text: str, begin: int, length: int, edits: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a text that may be the name: about as long, and beginning about there."""
    for start in range(max(begin - edits, 0), begin + edits + 1):
        for end in range(start + length - edits, min(start + length + edits, len(text)) + 1):
            if all(map(is_unspaced, text[start:end])):
                yield start, end
