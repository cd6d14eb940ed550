"""How a part declares its options: default, range and, below the field, what it means.

The range is checked when the part is made. Range and docstring are also what `make conf` writes
into the part's YAML and into the tables of docs/, so they stand nowhere else.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from unlearn.options.ranges import SEEDS, refuse


@dataclass(frozen=True)
class Range:
    """What an option may be: in words, and as a test of values that have the option's type."""

    words: str
    holds: Callable[[Any], bool] = lambda value: True
    """By default nothing is tested here: the type says it all, or the part looks itself."""


ABOVE_ZERO = Range("above 0", lambda value: 0 < value < math.inf)
ZERO_OR_MORE = Range("0 or more", lambda value: 0 <= value < math.inf)
ONE_OR_MORE = Range("1 or more", lambda value: value >= 1)
BELOW_ONE = Range("0 up to, not including, 1", lambda value: 0 <= value < 1)
SHARE = Range("0 to 1", lambda value: 0 <= value <= 1)
FINITE = Range("any finite number", math.isfinite)
SEED = Range("0 up to 2^63 - 1", lambda value: 0 <= value < SEEDS)
ANY_SEED = Range("any whole number")


def option(default: Any, allowed: Range, conf: str | None = None) -> Any:
    """Return a dataclass field with a range; `conf` is the default that its YAML has instead."""
    metadata = {"range": allowed, "conf": conf}
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def range_of(declared: dataclasses.Field[Any]) -> Range | None:
    """Return the range of a field: the declared one, or the choices of an enumeration."""
    if isinstance(declared.default, Enum):
        *others, last = [choice.value for choice in type(declared.default)]
        return Range(f"{', '.join(others)} or {last}")
    return declared.metadata.get("range")


def range_problems(part: Any) -> list[str]:
    """Return every option of a part that is out of its range."""
    problems = []
    for declared in dataclasses.fields(part):
        allowed, value = range_of(declared), getattr(part, declared.name, None)
        if allowed is not None and not allowed.holds(value):
            shown = repr(value) if isinstance(value, str) else value
            problems.append(f"{declared.name}: {shown}; allowed: {allowed.words}")
    return problems


class Declared:
    """What is declared once: options with their ranges, what a part needs, and how it is tried."""

    needs: str = "nothing"
    """What has to be there, for the header of its YAML."""
    examples: tuple[str, ...] = ("",)
    """Overrides beside the one that chooses the part: an example each."""

    def __post_init__(self) -> None:
        refuse(*range_problems(self))
