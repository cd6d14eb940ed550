"""Names in scripts with spaces between words, however they are written.

Whole words only. A word may be misspelt by as many letters as its length allows; the words may
stand as "Smith, John", with initials, with a name between, or with one left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import regex
from rapidfuzz import process
from rapidfuzz.distance import OSA

from unlearn.requests.finding.folding import fold, spans_of, tokens_of, written
from unlearn.requests.finding.mentions import Mention

CACHED = 400_000
"""Words whose likeness to the subject's is remembered: a few ten megabytes."""
_GRAPHEME = regex.compile(r"\X")
_CASED = regex.compile(r"[\p{Lu}\p{Lt}]")
_LOWER = regex.compile(r"\p{Ll}")
_PREFIXES = ("و", "ف", "ب", "ل", "ك", "ו", "ה", "ב", "ל", "מ", "ש", "כ")
"""What Arabic and Hebrew write in one word with the name: and, with, to, from."""
_PARTICLES = regex.compile(
    r"(은|는|이|가|을|를|의|에게|에게서|께서|께|와|과|도|만|씨|님|씨는|씨가|씨의|군|양|이다|입니다)+"
)
"""What Korean writes behind a name."""
_ADDED = ("jr", "sr", "junior", "senior", "ii", "iii", "filho", "neto", "fils", "младшии")
_LONE = ("a", "i", "o", "y", "e", "u")
"""Letters that are words of their own: as an initial they need their point."""


class Slot(NamedTuple):
    """One word of a way to write a name: a word, the first letter of one, or any."""

    word: str = ""
    form: str = "word"


class Form(NamedTuple):
    """One way to write a name."""

    slots: tuple[Slot, ...]
    kind: str
    name: str
    edits: int
    """Letters that may be wrong in all its words together."""


class Hit(NamedTuple):
    """A word of a text that is, or is nearly, a word of the subject."""

    word: str
    edits: int
    form: bool = False
    """Whether it has an ending that makes a case of a name, and of some a woman's of a man's."""


class _Near(dict[str, tuple[Hit, ...]]):
    """The hits of each word, remembered."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._whole = tuple(words)
        self._stems = tuple(_stem(word) for word in words if "а" <= word[0] <= "я")

    def __missing__(self, token: str) -> tuple[Hit, ...]:
        if len(self) > CACHED:
            self.clear()
        found = tuple(self._hits(token))
        self[token] = found
        return found

    def _hits(self, token: str) -> list[Hit]:
        if token.startswith(self._whole) or token.endswith(self._whole):
            words = [word for word in self.words if token == word or _affixed(token, word)]
            if words:
                return [Hit(word, 0) for word in words]
        if token.startswith(self._stems):
            words = [word for word in self.words if _inflected(token, word)]
            if words:
                return [Hit(word, 0, True) for word in words]
        if not token.isalpha() and not regex.search(r"\p{M}", token):
            return []
        near = process.extract(
            token, self.words, scorer=OSA.distance, processor=None, score_cutoff=2, limit=None
        )
        return [Hit(word, int(d)) for word, d, _ in near if d <= _word_edits(word)]


class Spellings:
    """Finds the names of a subject that are written in words."""

    def __init__(self, names: Sequence[str]) -> None:
        self.forms = [form for name in names for form in _forms(name)]
        words = dict.fromkeys(slot.word for form in self.forms for slot in form.slots)
        self.words = [word for word in words if len(word) > 1]
        self.near = _Near(self.words)
        needed = [
            frozenset(s.word for s in f.slots if s.form == "word" and len(s.word) > 1)
            for f in self.forms
        ]
        self._needed = list(dict.fromkeys(needed))
        self._by_word: dict[str, list[tuple[Form, int]]] = {}
        for form in self.forms:
            for place, slot in enumerate(form.slots):
                if slot.form == "word":
                    self._by_word.setdefault(slot.word, []).append((form, place))

    def touches(self, tokens: list[str]) -> bool:
        """Whether all words of a way to write a name are in the row, or nearly."""
        near = self.near
        hits = [found for token in tokens if (found := near[token])]
        if not hits:
            return False
        there = {hit.word for found in hits for hit in found}
        return any(needed <= there for needed in self._needed)

    def mentions(self, text: str, folded: str, tokens: list[str]) -> list[Mention]:
        """Return every place that names the subject, or may; they can overlap."""
        row = _Words(text, folded, tokens)
        found = []
        tried = set()
        for index, token in enumerate(tokens):
            for hit in self.near[token]:
                for form, place in self._by_word.get(hit.word, ()):
                    begin = index - place
                    key = (begin, form)
                    if key in tried or begin < 0 or begin + len(form.slots) > len(tokens):
                        continue
                    tried.add(key)
                    if mention := self._aligned(row, form, begin):
                        found.append(mention)
        return found

    def _aligned(self, row: _Words, form: Form, begin: int) -> Mention | None:
        changed = []
        edits = 0
        for place, slot in enumerate(form.slots, begin):
            token = row.tokens[place]
            if slot.form == "word" and len(slot.word) == 1:  # the O of O'Brien
                if token != slot.word:
                    return None
            elif slot.form == "word":
                hit = next((hit for hit in self.near[token] if hit.word == slot.word), None)
                if hit is None:
                    return None
                edits += hit.edits
                if hit.edits or hit.form:
                    changed.append((token, slot.word))
            elif not _fits(row, place, slot):
                return None
        end = begin + len(form.slots)
        if edits > form.edits or row.parted(begin, end):
            return None
        return Mention(
            row.spans[begin][0],
            row.spans[end - 1][1],
            _kind(row, form, begin, changed),
            form.name,
            row.told(begin, end),
            tuple(token for token, _ in changed),
        )


class _Words:
    """The words of a row, with where they stand before and after folding."""

    def __init__(self, text: str, folded: str, tokens: list[str]) -> None:
        self.text, self.folded, self.tokens = text, folded, tokens
        self.spans = spans_of(folded)
        self.before = written(text, len(tokens))
        self.cased = _CASED.search(text) is not None

    def told(self, begin: int, end: int) -> str:
        """Return words as they stand in the row, with the point behind an initial."""
        if self.before is None:
            return self.folded[self.spans[begin][0] : self.spans[end - 1][1]]
        last = self.before[end - 1]
        stop = last[1] + (self.text[last[1] : last[1] + 1] == "." and last[1] - last[0] == 1)
        return " ".join(self.text[self.before[begin][0] : stop].split())

    def capital(self, place: int) -> bool:
        """Whether a word begins with a capital, or its script has none."""
        if self.before is None:
            return True
        start, end = self.before[place]
        return _LOWER.match(self.text[start:end]) is None

    def between(self, place: int) -> str:
        """Return what stands behind a word and ahead of the next."""
        end = self.spans[place + 1][0] if place + 1 < len(self.spans) else len(self.folded)
        return self.folded[self.spans[place][1] : end]

    def ahead(self, place: int) -> str:
        """Return what stands ahead of a word."""
        return self.folded[self.spans[place - 1][1] if place else 0 : self.spans[place][0]]

    def parted(self, begin: int, end: int) -> bool:
        """Whether a sentence or a line ends between the words of a name."""
        for place in range(begin, end - 1):
            gap = self.between(place)
            lone = _GRAPHEME.fullmatch(self.tokens[place]) is not None
            point = "." in gap and not lone and self.tokens[place] not in _ADDED
            if point or any(mark in gap for mark in '!?;:。\n\t()[]{}"“”«»|/') or len(gap) > 4:
                return True
        return False


def _fits(row: _Words, place: int, slot: Slot) -> bool:
    """Whether a word can be the initial, or the further name, that stands there."""
    token = row.tokens[place]
    letter = _GRAPHEME.fullmatch(token) is not None
    dotted = row.between(place).startswith(".")
    if slot.form == "any":
        return token.isalpha() and row.capital(place) and (row.cased or letter or _uncased(token))
    if not letter or (slot.form == "initial" and token != slot.word):
        return False
    return dotted or (row.capital(place) and row.cased and token not in _LONE)


def _uncased(token: str) -> bool:
    return token.upper() == token


def _kind(row: _Words, form: Form, begin: int, changed: list[tuple[str, str]]) -> str:
    end = begin + len(form.slots)
    if row.ahead(begin) in ("-", "‐") or row.between(end - 1) in ("-", "‐"):
        return "double"
    if end < len(row.tokens) and row.tokens[end] in _ADDED:
        return "suffix"
    if form.kind == "order" and "," not in (gap := row.between(begin)) and "،" not in gap:
        return "turned"
    if changed:
        lone = len(form.slots) == 1
        return "ending" if lone or any(_at_an_end(*pair) for pair in changed) else "misspelt"
    if form.kind == "exact":
        words = row.tokens[begin:end]
        short = len(words) == 1 or len("".join(words)) <= 4
        if short and not all(row.capital(place) for place in range(begin, end)):
            return "short"
        if len("".join(words)) < 3:
            return "short"
    return form.kind


def _at_an_end(token: str, word: str) -> bool:
    """Whether a word differs in its first letter or its ending, as names of two people do."""
    return token[0] != word[0] or token[:-1] in (word[:-1], word) or token == word[:-1]


def _forms(name: str) -> list[Form]:
    """Return every way of writing a name, its own first."""
    words = tokens_of(fold(name))
    allowed = _name_edits(sum(map(len, words)))
    slots = [Slot(word) for word in words]
    forms = [Form(tuple(slots), "exact", name, allowed)]
    forms += [Form(tuple(map(Slot, other)), "exact", name, 0) for other in _german(name, words)]
    if len(words) > 1:
        forms += _shuffled(name, words, slots, allowed)
    return list(dict.fromkeys(forms))


def _shuffled(name: str, words: list[str], slots: list[Slot], allowed: int) -> list[Form]:
    first = [Slot(_GRAPHEME.match(word)[0], "initial") for word in words]
    forms = [
        Form((slots[-1], *slots[:-1]), "order", name, allowed),
        Form((Slot("".join(words)),), "exact", name, 0),
        Form((first[0], *slots[1:]), "initials", name, 0),
        Form((*first[:-1], slots[-1]), "initials", name, 0),
        Form((slots[-1], *first[:-1]), "initials", name, 0),
        Form((first[0], Slot(form="letter"), slots[-1]), "initials", name, 0),
        Form((slots[-1], first[0], Slot(form="letter")), "initials", name, 0),
    ]
    if len(words) == 2:
        forms.append(Form((slots[0], Slot(form="any"), slots[1]), "between", name, 0))
        return forms
    joined = [
        (*slots[:at], Slot(words[at] + words[at + 1]), *slots[at + 2 :])
        for at in range(len(words) - 1)
    ]
    forms += [Form(one, "exact", name, 0) for one in joined]
    sizes = range(2, len(words)) if len(words) <= 4 else [len(words) - 1]
    forms += [
        Form(kept, "without", name, 0)
        for size in sizes
        for kept in combinations(slots, size)
        if len("".join(slot.word for slot in kept)) > 5
    ]
    return forms


def _german(name: str, words: list[str]) -> list[list[str]]:
    """Return the words with ä, ö, ü and å written in two letters, where the name has them."""
    pairs = {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"}
    lowered = name.casefold()
    for letter, two in pairs.items():
        lowered = lowered.replace(letter, two)
    other = tokens_of(fold(lowered))
    return [other] if other != words else []


def _affixed(token: str, word: str) -> bool:
    """Whether a word of a text is the subject's with what its language writes onto it."""
    if len(word) < 2 or len(token) <= len(word):
        return False
    if token.endswith(word):
        return token[: -len(word)] in _PREFIXES
    if not token.startswith(word):
        return False
    rest = token[len(word) :]
    if "а" <= word[0] <= "я":
        return len(word) > 2 and rest in ("у", "ю", "ом", "ем", "е", "ым", "ого", "ому", "ои")
    if rest == "जी":
        return True
    if "\uac00" <= word[0] <= "\ud7a3":
        return _PARTICLES.fullmatch(rest) is not None
    return rest == "s" and len(word) > 4 and word.isascii()


def _stem(word: str) -> str:
    return word[:-1] if word[-1] in "аяьиое" else word


def _inflected(token: str, word: str) -> bool:
    """Whether a Russian word is the subject's in a case that may be another person's name."""
    stem = _stem(word)
    if len(stem) < 3 or not token.startswith(stem) or not "а" <= word[0] <= "я":
        return False
    return token[len(stem) :] in ("а", "я")


def _word_edits(word: str) -> int:
    return 0 if len(word) <= 3 else 1 if len(word) <= 7 else 2


def _name_edits(letters: int) -> int:
    return 0 if letters < 5 else 1 if letters <= 10 else 2 if letters <= 17 else 3
