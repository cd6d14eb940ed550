"""How problems of data are told: all at once, each with its first places, on one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from unlearn.errors import DataError

Made = TypeVar("Made")

NAMED = 5
"""Pairs of rows that a message names by number at most."""


def together(parts: Mapping[str, Callable[[], Made]]) -> dict[str, Made]:
    """Make every part and return all of them; raises one DataError with the problems of all."""
    made: dict[str, Made] = {}
    problems: list[str] = []
    for name, make in parts.items():
        try:
            made[name] = make()
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return made


def shown(value: object, length: int = 80) -> str:
    """Show a value in a message, shortened to `length` characters."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= length else text[: length - 1] + "…"


def few(numbers: list[str], between: str = ", ", most: int = NAMED) -> str:
    """Join the first of many numbers, those of a message that stays one line."""
    return between.join(numbers[:most]) + (" …" if len(numbers) > most else "")


def counted(number: int, what: str = "row") -> str:
    """Return a number with its noun, such as "1 row" and "2 rows"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
