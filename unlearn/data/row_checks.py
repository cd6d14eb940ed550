"""What every reader asks of its rows, and how it takes fewer of them; no model is loaded yet.

All problems are told at once: whoever mends a file wants the whole list.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import partial

from unlearn.data.blank import is_blank
from unlearn.data.sameness import (
    Pair,
    asked,
    described,
    identity,
    letters_of,
    named,
    narrowed,
    paired,
)
from unlearn.data.splits import Row, Splits
from unlearn.data.telling import counted, together
from unlearn.errors import DataError

log = logging.getLogger(__name__)

_HALF = re.compile(r"[\ud800-\udfff]")
"""A lone surrogate: JSON can write it, and no tokenizer can read it."""


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
        # Where the scored rows are the trained rows, or some, one message about them is enough.
        known = {id(row) for row in trained.get(name, [])}
        some = bool(rows) and all(id(row) in known for row in rows)
        if rows != trained.get(name) and not some:
            places[f"evaluated {name}"] = rows
    problems = [f"The {name} set has no rows." for name, rows in places.items() if not rows]
    for name, how in splits.judged.items():
        rows = splits.evaluated.get(name, [])
        lacking = sum(not row.perturbed_answers for row in rows)
        if how.chosen and lacking:
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
        alike = paired(everything[first], everything[second], _letters)
        exact = narrowed(alike, lambda row, other: identity(row) == identity(other))
        problems += _shared(exact if published else alike, first, second, advice)
        near = narrowed(alike, lambda row, other: published and identity(row) != identity(other))
        for line in _shared(near, first, second, "They are published so, and stay."):
            log.warning("%s", line)
    _warn_of_questions(splits)
    if problems:
        raise DataError(problems)
    return splits


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


def cut_both(
    forget: list[Row], retain: list[Row], forget_rows: int | None, retain_rows: int | None
) -> tuple[list[Row], list[Row]]:
    """Take the first rows of both sets; one DataError names every option that asks for more."""
    rows = together(
        {
            "forget": partial(cut, forget, forget_rows, "data.forget_rows"),
            "retain": partial(cut, retain, retain_rows, "data.retain_rows"),
        }
    )
    return rows["forget"], rows["retain"]


def count_problems(field: str, count: object) -> list[str]:
    """Say what is wrong with a number of rows asked for: it must be null, or from 1 to 10^9."""
    if count is None:
        return []
    if isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= 10**9:
        return []
    return [f"{field}={count}: give a whole number of at least 1, or null for all rows."]


def _letters(row: Row) -> tuple[str, str]:
    return letters_of(asked(row)), letters_of(row.answer)


def _warn_of_questions(splits: Splits) -> None:
    """Say in one line which questions have one answer to forget and another one to retain."""

    def question(row: Row) -> str | None:
        return letters_of(asked(row)) if str(row.question).strip() else None  # as of plain text

    pairs = narrowed(
        paired(splits.forget, splits.retain, question),
        lambda row, other: letters_of(row.answer) != letters_of(other.answer),
    )
    if pairs:
        log.warning(
            "%s of the forget set stand%s in the retain set with another answer, %s. The model is "
            "to forget and to keep how it answers: take one of the two out unless both are meant.",
            counted(len(pairs), "question"),
            "s" if len(pairs) == 1 else "",
            named(pairs, "forget", "retain"),
        )


def _shared(pairs: list[Pair], first: str, second: str, advice: str) -> list[str]:
    if not pairs:
        return []
    stand = f"{counted(len(pairs))} stand{'s' if len(pairs) == 1 else ''}"
    places = named(pairs, first, second)
    return [f"{stand} in both the {first} and the {second} set, {places}. {advice}"]


def _faults(name: str, rows: list[Row]) -> list[str]:
    """Report each kind of fault in a set once, with its first row and how many there are."""
    found: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        for fault in dict.fromkeys(_row_faults(row)):
            found.setdefault(fault, []).append(index)
    return [
        f"{name}: {fault} in {len(indices)} of {len(rows)} rows, first in row {indices[0] + 1}, "
        f"{described(rows[indices[0]])}. Mend the row or take it out."
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
        elif is_blank(text):
            yield f"the {name} is blank"
    texts += [("question", question), *((f"{t.role} turn", t.content) for t in row.before)]
    for name, text in texts:
        half = _HALF.search(text) if isinstance(text, str) else None
        if half:
            yield f"the {name} holds half a character, \\u{ord(half[0]):04x}, which is no text"
