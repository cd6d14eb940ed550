"""What every reader asks of its rows, and how it takes fewer of them; no model is loaded yet.

All problems are told at once: whoever mends a file wants the whole list.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from unlearn.data.splits import Row, Splits
from unlearn.errors import DataError

log = logging.getLogger(__name__)

Key = TypeVar("Key")

_HALF = re.compile(r"[\ud800-\udfff]")
"""A lone surrogate: JSON can write it, and no tokenizer can read it."""
NAMED = 5
"""Pairs of rows that a message names by number at most."""


def checked(splits: Splits, published: bool = False) -> Splits:
    """Return the splits unchanged if they can be trained on and scored.

    Raises one DataError that lists every problem: a set without rows; a field that is not a string;
    an answer of any kind that is blank; half a character (a lone surrogate); multiple choice
    without wrong answers; a row in both the forget and the retain set; a holdout row, or one of
    general that is scored, in either.
    Rows are the same when question and answer have the same :func:`letters_of`. One line warns of
    questions that the forget and the retain set both ask, with different answers.

    `published`: nobody can mend the rows, so that only those count as the same that differ in white
    space alone, and one line warns of those that differ in more.
    """
    trained = {"forget": splits.forget, "retain": splits.retain}
    places = dict(trained)
    for name, rows in splits.evaluated.items():
        # Where the scored rows are the trained rows, one message about them is enough.
        if rows != trained.get(name):
            places[f"evaluated {name}"] = rows
    problems = [f"The {name} set has no rows." for name, rows in places.items() if not rows]
    for name, how in splits.judged.items():
        rows = splits.evaluated.get(name, [])
        lacking = sum(not row.perturbed_answers for row in rows)
        if how.form == "multiple_choice" and lacking:
            problems.append(
                f"evaluated {name}: multiple choice, but {lacking} of {len(rows)} rows have no "
                "wrong answers to choose from."
            )
    for name, rows in (places | {"general": splits.general}).items():
        problems += _faults(name, rows)
    everything = trained | {
        "holdout": splits.evaluated.get(splits.unseen or "", []),
        "general": splits.evaluated.get("general", []),
    }
    kept_or_gone = "A row cannot be forgotten and kept: take it out of one of the two."
    unseen = "Holdout rows must be unseen in training: take them out of holdout."
    untaught = "General rows are never trained on: take them out of one of the two."
    for first, second, advice in (
        ("forget", "retain", kept_or_gone),
        ("holdout", "forget", unseen),
        ("holdout", "retain", unseen),
        ("general", "forget", kept_or_gone),
        ("general", "retain", untaught),
    ):
        alike = _alike(everything[first], everything[second], published)
        problems += _shared(alike.same, first, second, advice)
        for line in _shared(alike.near, first, second, "They are published so, and stay."):
            log.warning("%s", line)
    _warn_of_questions(splits)
    if problems:
        raise DataError(problems)
    return splits


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


def cut(rows: list[Row], count: int | None, field: str) -> list[Row]:
    """Take the first `count` rows, or all for None; a DataError names the option `field`."""
    if count is None:
        return rows
    if count > len(rows):
        raise DataError(
            f"{field}={count}, but the data has only {len(rows)}: "
            f"give at most {len(rows)}, or null for all of them."
        )
    return rows[:count]


def learnt(scored: list[Row], rows: list[Row]) -> list[Row]:
    """Keep the scored rows that stand in `rows`: what was never learnt tells nothing if scored.

    Question and answer are compared, because TOFU asks "What is the full name of the author?"
    about two authors.
    """
    known = {_identity(row) for row in rows}
    return [row for row in scored if _identity(row) in known]


def count_problems(field: str, count: object) -> list[str]:
    """Say what is wrong with a number of rows asked for: it must be null or at least 1."""
    if count is None or (isinstance(count, int) and not isinstance(count, bool) and count >= 1):
        return []
    return [f"{field}={count}: give a whole number of at least 1, or null for all rows."]


@contextmanager
def noted(problems: list[str]) -> Iterator[None]:
    """Note the problems of a DataError raised inside and go on, so that all are told at once."""
    try:
        yield
    except DataError as error:
        problems.extend(error.problems)


def shown(value: object, length: int = 80) -> str:
    """Show a value in a message, shortened to `length` characters."""
    text = repr(value)
    return text if len(text) <= length else text[: length - 1] + "…"


def _identity(row: Row) -> tuple[str, str]:
    """What makes two rows the same; `str` lets faulty fields pass, they are reported elsewhere."""
    return " ".join(_asked(row).split()), " ".join(str(row.answer).split())


def _asked(row: Row) -> str:
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


class _Pair(NamedTuple):
    """A row, and the rows of another set that go with it; numbers begin at 1."""

    number: int
    row: Row
    others: list[tuple[int, Row]]


class _Alike(NamedTuple):
    """Rows of one set that stand in another one as well: refused, and only nearly the same."""

    same: list[_Pair]
    near: list[_Pair]


def _alike(rows: list[Row], others: list[Row], published: bool) -> _Alike:
    places = _places(others, lambda row: (letters_of(_asked(row)), letters_of(row.answer)))
    found = _Alike([], [])
    for number, row in enumerate(rows, start=1):
        alike = places.get((letters_of(_asked(row)), letters_of(row.answer)), [])
        exact = [pair for pair in alike if _identity(pair[1]) == _identity(row)]
        same = exact if published else alike
        near = [pair for pair in alike if pair not in same]
        found.same.extend([_Pair(number, row, same)] if same else [])
        found.near.extend([_Pair(number, row, near)] if near else [])
    return found


def _warn_of_questions(splits: Splits) -> None:
    """Say in one line which questions have one answer to forget and another one to retain."""
    places = _places(splits.retain, lambda row: letters_of(_asked(row)))
    pairs = []
    for number, row in enumerate(splits.forget, start=1):
        # Plain text has no question, and what has the same answer was told above.
        there = places.get(letters_of(_asked(row)), []) if str(row.question).strip() else []
        answer = letters_of(row.answer)
        others = [pair for pair in there if letters_of(pair[1].answer) != answer]
        if others:
            pairs.append(_Pair(number, row, others))
    if pairs:
        count = "1 question" if len(pairs) == 1 else f"{len(pairs)} questions"
        log.warning(
            "%s of the forget set stand%s in the retain set with another answer, %s. The model is "
            "to forget and to keep how it answers: take one of the two out unless both are meant.",
            count,
            "s" if len(pairs) == 1 else "",
            _named(pairs, "forget", "retain"),
        )


def _places(rows: list[Row], key: Callable[[Row], Key]) -> dict[Key, list[tuple[int, Row]]]:
    places: dict[Key, list[tuple[int, Row]]] = {}
    for number, row in enumerate(rows, start=1):
        places.setdefault(key(row), []).append((number, row))
    return places


def _shared(pairs: list[_Pair], first: str, second: str, advice: str) -> list[str]:
    if not pairs:
        return []
    number = "1 row stands" if len(pairs) == 1 else f"{len(pairs)} rows stand"
    places = _named(pairs, first, second)
    return [f"{number} in both the {first} and the {second} set, {places}. {advice}"]


def _named(pairs: list[_Pair], first: str, second: str) -> str:
    """Show the first pair in full where its rows differ in a letter, and number the others."""
    number, row, others = pairs[0]
    shown_first = f"first {first} row {number}, {_described(row)}, and {second} row {others[0][0]}"
    if _identity(others[0][1]) != _identity(row):
        shown_first += f", {_described(others[0][1])}"
    if len(pairs) == len(others) == 1:
        return shown_first
    numbers = [f"{pair.number} = {few([str(n) for n, _ in pair.others])}" for pair in pairs]
    return f"{shown_first} ({first} = {second}: {few(numbers, '; ')})"


def few(numbers: list[str], between: str = ", ") -> str:
    """Join the first of many numbers, those of a message that stays one line."""
    return between.join(numbers[:NAMED]) + (" …" if len(numbers) > NAMED else "")


def _faults(name: str, rows: list[Row]) -> list[str]:
    """Report each kind of fault in a set once, with its first row and how many there are."""
    found: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        for fault in dict.fromkeys(_row_faults(row)):
            found.setdefault(fault, []).append(index)
    return [
        f"{name}: {fault} in {len(indices)} of {len(rows)} rows, first in row {indices[0] + 1}, "
        f"{_described(rows[indices[0]])}. Mend the row or take it out."
        for fault, indices in found.items()
    ]


def _row_faults(row: Row) -> Iterator[str]:
    # Rows are made from files and by users' own readers: their types are a claim, not a fact.
    question: object = row.question
    if not isinstance(question, str):
        yield f"the question is not a string but {type(question).__name__}"
    texts: list[tuple[str, object]] = [("answer", row.answer)]
    texts += [("perturbed answer", answer) for answer in row.perturbed_answers]
    if row.paraphrased_answer is not None:
        texts.append(("paraphrased answer", row.paraphrased_answer))
    if row.paraphrased_question is not None:
        texts.append(("paraphrased question", row.paraphrased_question))
    for name, text in texts:
        if not isinstance(text, str):
            yield f"the {name} is not a string but {type(text).__name__}"
        elif not text.strip():
            yield f"the {name} is blank"
    texts += [("question", question), *((f"{t.role} turn", t.content) for t in row.before)]
    for name, text in texts:
        half = _HALF.search(text) if isinstance(text, str) else None
        if half:
            yield f"the {name} holds half a character, \\u{ord(half[0]):04x}, which is no text"


def _described(row: Row) -> str:
    if row.question == "":
        return f"text {shown(row.answer)}"
    return f"question {shown(row.question)}, answer {shown(row.answer)}"
