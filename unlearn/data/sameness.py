"""When two rows are the same, and which of one set stand in another one as well."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable
from typing import NamedTuple

from unlearn.data.splits import Row
from unlearn.data.telling import few, shown


class Pair(NamedTuple):
    """A row, and the rows of another set that go with it; numbers begin at 1."""

    number: int
    row: Row
    others: list[tuple[int, Row]]


def paired(rows: list[Row], others: list[Row], key: Callable[[Row], Hashable]) -> list[Pair]:
    """Return the rows with those others that have the same key; null is no key."""
    places: dict[Hashable, list[tuple[int, Row]]] = {None: []}
    for number, row in enumerate(others, start=1):
        if (found := key(row)) is not None:
            places.setdefault(found, []).append((number, row))
    pairs = [Pair(number, row, places.get(key(row), [])) for number, row in enumerate(rows, 1)]
    return [pair for pair in pairs if pair.others]


def narrowed(pairs: list[Pair], meant: Callable[[Row, Row], bool]) -> list[Pair]:
    """Keep of each pair the other rows that are meant beside its row, where there are any."""
    kept = [
        pair._replace(others=[(n, other) for n, other in pair.others if meant(pair.row, other)])
        for pair in pairs
    ]
    return [pair for pair in kept if pair.others]


def letters_of(text: object) -> str:
    """Return what of a text makes it the same text: letters, marks, digits and symbols.

    NFKC and case folding, without punctuation, white space and zero-width characters: "Ｊｏｈｎ
    Carter ?" is "john carter". Punctuation between digits stays, as 3.5 is not 35. A text of which
    nothing would be left ("?!") is itself, after NFKC.
    """
    normal = unicodedata.normalize("NFKC", str(text))
    seen = unicodedata.normalize("NFKC", normal.casefold()).translate(_SEEN)

    def without_punctuation(found: re.Match[str]) -> str:
        start, end = found.span()
        around = seen[start - 1 : start], seen[end : end + 1]
        return found[0] if all(map(str.isdigit, around)) else found[0].translate(_LETTERS)

    return re.sub(r"[\W_]+", without_punctuation, seen) or " ".join(normal.split())


def learnt(scored: list[Row], rows: list[Row]) -> list[Row]:
    """Keep the scored rows that stand in `rows`: what was never learnt tells nothing if scored.

    Question and answer are compared, because TOFU asks "What is the full name of the author?"
    about two authors.
    """
    known = {identity(row) for row in rows}
    return [row for row in scored if identity(row) in known]


def identity(row: Row) -> tuple[str, str]:
    """What makes two rows the same; `str` lets faulty fields pass, they are reported elsewhere."""
    return " ".join(asked(row).split()), " ".join(str(row.answer).split())


def asked(row: Row) -> str:
    """Return the question behind the turns that it may refer to; the system turn is none."""
    turns = [turn.content for turn in row.before if turn.role != "system"]
    return "\n".join([*turns, str(row.question)])


class _Kept(dict[int, int | None]):
    """For `str.translate`: leaves out characters whose Unicode category begins in one of `gone`."""

    def __init__(self, *gone: str) -> None:
        self.gone = gone

    def __missing__(self, code: int) -> int | None:
        out = unicodedata.category(chr(code)).startswith(self.gone)
        self[code] = None if out or code in _VARIATION else code
        return self[code]


_VARIATION = {0x34F, 0x115F, 0x1160, 0x3164, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
"""Marks and fillers that nobody sees, besides those of the category Cf."""
_SEEN = _Kept("Z", "Cc", "Cf")
_LETTERS = _Kept("P")


def named(pairs: list[Pair], first: str, second: str) -> str:
    """Show the first pair in full where its rows differ in a letter, and number the others."""
    number, row, others = pairs[0]
    shown_first = f"first {first} row {number}, {described(row)}, and {second} row {others[0][0]}"
    if identity(others[0][1]) != identity(row):
        shown_first += f", {described(others[0][1])}"
    if len(pairs) == len(others) == 1:
        return shown_first
    numbers = [f"{pair.number} = {few([str(n) for n, _ in pair.others])}" for pair in pairs]
    return f"{shown_first} ({first} = {second}: {few(numbers, '; ')})"


def described(row: Row) -> str:
    """Show a row in a message."""
    if row.question == "":
        return f"text {shown(row.answer)}"
    return f"question {shown(row.question)}, answer {shown(row.answer)}"
