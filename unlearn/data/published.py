"""What readers of published data sets share: counts, lettered questions, records by a column."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from unlearn.data.columns import missing_columns
from unlearn.data.records import Record, Table
from unlearn.data.splits import Row
from unlearn.data.telling import shown
from unlearn.errors import DataError

log = logging.getLogger(__name__)

LETTERS = "ABCD"


def require_whole(table: Table, name: str, published: int, advice: str) -> None:
    """Raise DataError where a part has fewer rows than were published; say where it has more."""
    found = len(table.records)
    if found < published:
        raise DataError(
            f"{table.source} has {found} rows, but {name} was published with {published}: the "
            f"file is not whole, or of another data set. {advice}"
        )
    if found > published:
        log.info("%s has %d rows, and was published with %d", table.source, found, published)


def require_columns(table: Table, names: Sequence[str], advice: str) -> None:
    """Raise DataError for columns that a table lacks, with those that it has."""
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise DataError(missing_columns(table, missing, advice))


def lettered(record: Record, place: str, ahead: str = "") -> Row:
    """Return a question with four choices as lm-evaluation-harness writes those of WMDP and MMLU.

    The choices stand in the prompt, and the answers are their letters, so that the split's form is
    `continuation`. `ahead` goes before the question. Columns are question, choices and answer, the
    number of the right one. Raises DataError for another shape.
    """
    question, choices, answer = (record.get(name) for name in ("question", "choices", "answer"))
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"{place}: 'question' is no text: {shown(record, 160)}.")
    texts = [one for one in choices if isinstance(one, str)] if isinstance(choices, list) else []
    if not isinstance(choices, list) or not len(choices) == len(texts) == len(LETTERS):
        raise DataError(f"{place}: 'choices' is no list of four texts: {shown(record, 160)}.")
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(LETTERS):
        raise DataError(f"{place}: 'answer' is no number from 0 to 3: {shown(record, 160)}.")
    return Row(
        f"{ahead}{prompt_of(question, texts)}",
        LETTERS[answer],
        perturbed_answers=tuple(letter for letter in LETTERS if letter != LETTERS[answer]),
    )


def prompt_of(question: str, choices: Sequence[str]) -> str:
    """Return a question with its lettered choices, up to where the letter comes."""
    lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, choices, strict=True)]
    return "\n".join([question.strip(), *lines, "Answer:"])
