"""How problems of data are told: all at once, each with its first places, on one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from unlearn.errors import DataError

NAMED = 5
"""Pairs of rows that a message names by number at most."""


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


def few(numbers: list[str], between: str = ", ", most: int = NAMED) -> str:
    """Join the first of many numbers, those of a message that stays one line."""
    return between.join(numbers[:most]) + (" …" if len(numbers) > most else "")


def counted(number: int, what: str = "row") -> str:
    """Return a number with its noun, such as "1 row" and "2 rows"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
