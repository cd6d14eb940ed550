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

from unlearn.errors import ConfigurationError, shortened
from unlearn.options.beside import Beside

LARGEST = 10**9
"""No number of ours means anything beyond it, but for seeds and where a range says otherwise."""


@dataclass(frozen=True)
class Range:
    """What an option may be: in words, and as a test of values that have the option's type."""

    words: str
    test: Callable[[Any], bool] = lambda value: True
    """By default nothing is tested here: the type says it all, or the part looks itself."""
    null: bool = True
    """Whether null is left to the option's type, which allows it or not."""
    most: float = LARGEST
    """The largest size of a number; `words` say nothing of it, a message does."""

    def holds(self, value: Any) -> bool:
        """Return whether the value is allowed, whatever its size."""
        return (value is None and self.null) or self.test(value)

    def problem(self, name: str, value: Any) -> str | None:
        """Return what is wrong with the value of the option `name`."""
        size = abs(value) if isinstance(value, (int, float)) else 0
        if size <= self.most and self.holds(value):
            return None
        endless = isinstance(value, int) and size >= 10**30  # Python refuses to write the longest
        shown = repr(value) if isinstance(value, str) else "a longer number" if endless else value
        more = f", and no more than {self.most:,}" if size > self.most else ""
        return f"{name}: {shortened(str(shown))}; allowed: {self.words}{more}"


ABOVE_ZERO = Range("above 0", lambda value: 0 < value < math.inf)
ZERO_OR_MORE = Range("0 or more", lambda value: 0 <= value < math.inf)
ONE_OR_MORE = Range("1 or more", lambda value: value >= 1)
BELOW_ONE = Range("0 up to, not including, 1", lambda value: 0 <= value < 1)
SHARE = Range("0 to 1", lambda value: 0 <= value <= 1)
FINITE = Range("any finite number", math.isfinite)
SEED = Range("0 up to 2^63 - 1", lambda value: 0 <= value < 2**63, most=math.inf)


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
    ranges = {declared.name: range_of(declared) for declared in dataclasses.fields(part)}
    found = [r.problem(name, getattr(part, name, None)) for name, r in ranges.items() if r]
    return [problem for problem in found if problem is not None]


def refuse(*problems: str | None) -> None:
    """Raise ConfigurationError with all problems that there are."""
    found = [problem for problem in problems if problem is not None]
    if found:
        raise ConfigurationError(found)


class Ranged:
    """Options that refuse what is out of its range."""

    def __post_init__(self) -> None:
        refuse(*range_problems(self))


class Declared(Ranged):
    """A part: options with their ranges, what it needs, how it is tried, and what it refuses."""

    needs: str = "nothing"
    """What has to be there, for the header of its YAML."""
    examples: tuple[str, ...] = ("",)
    """Overrides beside the one that chooses the part: an example each."""

    @property
    def ours(self) -> bool:
        """Whether its code is this package's: that of a user's part may do what it likes."""
        return type(self).__module__.split(".")[0] == __name__.split(".")[0]

    def problems_beside(self, method: Beside) -> list[str]:
        """Return what keeps this part from working beside the others of the run, told before any
        model loads; an override adds to it.

        A problem is a sentence, or begins with the option at fault, as in `rho: 3; allowed: …`.
        """
        return []
