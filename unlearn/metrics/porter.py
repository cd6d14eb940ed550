"""The Porter stemmer, with the departures that NLTK makes by default: what ROUGE compares words by.

M. F. Porter, "An algorithm for suffix stripping", Program 14.3 (1980). Here and not imported, as
NLTK brings scipy.stats and, where it is there, scikit-learn with it: seconds of every start for one
function. A test compares the two, word by word, on all of TOFU.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

VOWELS = frozenset("aeiou")

_SAME = ("sky", "news", "inning", "outing", "canning", "howe", "proceed", "exceed", "succeed")
IRREGULAR = {word: word for word in _SAME} | {
    "skies": "sky",
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "innings": "inning",
    "outings": "outing",
    "cannings": "canning",
}
"""NLTK's: what Porter's readers found to be wrong in twenty years."""

STEP_2 = (
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),  # Porter's own departure: abli in the paper
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),  # NLTK's
)
STEP_3 = (
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
)
STEP_4 = tuple(
    (suffix, "")
    for suffix in (
        *("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent"),
        *("ou", "ism", "ate", "iti", "ous", "ive", "ize"),
    )
)
"""Suffix → what takes its place; of several that a word ends with, the first decides."""


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Return the stem of a word in lower case."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) <= 2:
        return word
    word = _step_1b(_step_1a(word))
    if word.endswith("y") and len(word) > 2 and _kinds(word)[-2] == "c":
        word = word[:-1] + "i"
    word = _replaced(_step_2(word), STEP_3, 0)
    if word.endswith("ion"):
        root = word[:-3]
        word = root if _measure(root) > 1 and root[-1] in "st" else word
    else:
        word = _replaced(word, STEP_4, 1)
    if word.endswith("e"):
        root = word[:-1]
        measure = _measure(root)
        if measure > 1 or (measure == 1 and not _ends_short(root)):
            word = root
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _step_1a(word: str) -> str:
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]  # NLTK's: dies → die, flies → fli
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _step_1b(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]  # NLTK's: died → die, spied → spi
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for suffix in ("ed", "ing"):
        root = word.removesuffix(suffix)
        if root != word and "v" in _kinds(root):
            break
    else:
        return word
    if root.endswith(("at", "bl", "iz")):
        return root + "e"
    if len(root) > 1 and root[-1] == root[-2] and _kinds(root)[-1] == "c":
        return root if root[-1] in "lsz" else root[:-1]
    return root + "e" if _measure(root) == 1 and _ends_short(root) else root


def _step_2(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:  # NLTK's: and once more
        return _step_2(word[:-2])
    if word.endswith("logi"):  # NLTK's: the l belongs to the stem, so that geologi is long enough
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _replaced(word, STEP_2, 0)


def _replaced(word: str, rules: Iterable[tuple[str, str]], least: int) -> str:
    """Return the word by the first rule whose suffix it has, if what is left measures more."""
    for suffix, other in rules:
        if word.endswith(suffix):
            root = word.removesuffix(suffix)
            return root + other if _measure(root) > least else word
    return word


def _kinds(word: str) -> str:
    """Return c for each consonant and v for each vowel; y is one where it follows a consonant."""
    kinds = ""
    for letter in word:
        vowel = letter in VOWELS or (letter == "y" and kinds[-1:] == "c")
        kinds += "v" if vowel else "c"
    return kinds


def _measure(word: str) -> int:
    """Return Porter's m: how often a consonant follows a vowel."""
    return _kinds(word).count("vc")


def _ends_short(word: str) -> bool:
    """Return whether it ends consonant, vowel, consonant but w, x, y; or is a vowel with one."""
    kinds = _kinds(word)
    return kinds == "vc" or (kinds.endswith("cvc") and word[-1] not in "wxy")
