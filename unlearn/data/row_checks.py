"""What every reader asks of its rows, and how it takes fewer of them; no model is loaded yet.

All problems are told at once: whoever mends a file wants the whole list.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from unlearn.data.splits import Row, Splits
from unlearn.errors import DataError


def checked(splits: Splits) -> Splits:
    """Return the splits unchanged if they can be trained on and scored.

    Raises one DataError that lists every problem: a set without rows; a field that is not a string;
    an answer of any kind that is blank; multiple choice without wrong answers; a row in both the
    forget and the retain set; a holdout row in either. Rows are the same when question and answer
    are, up to white space.
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
    everything = trained | {"holdout": splits.evaluated.get(splits.unseen or "", [])}
    kept_or_gone = "A row cannot be forgotten and kept: take it out of one of the two."
    unseen = "Holdout rows must be unseen in training: take them out of holdout."
    problems += _shared(everything, "forget", "retain", kept_or_gone)
    problems += _shared(everything, "holdout", "forget", unseen)
    problems += _shared(everything, "holdout", "retain", unseen)
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
    return " ".join(str(row.question).split()), " ".join(str(row.answer).split())


def _shared(sets: dict[str, list[Row]], first: str, second: str, advice: str) -> list[str]:
    both = learnt(sets[first], sets[second])
    if not both:
        return []
    number = "1 row stands" if len(both) == 1 else f"{len(both)} rows stand"
    return [
        f"{number} in both the {first} and the {second} set, first {_described(both[0])}. {advice}"
    ]


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


def _described(row: Row) -> str:
    if row.question == "":
        return f"text {shown(row.answer)}"
    return f"question {shown(row.question)}, answer {shown(row.answer)}"
