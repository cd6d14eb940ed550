"""The ranges of options: each a problem or None, all told at once."""

from __future__ import annotations

import math

from unlearn.errors import ConfigurationError

SEEDS = 2**63


def refuse(*problems: str | None) -> None:
    """Raise ConfigurationError with all problems that there are."""
    found = [problem for problem in problems if problem is not None]
    if found:
        raise ConfigurationError(found)


def allowed(right: bool, name: str, value: object, words: str) -> str | None:
    """Return the problem with `value` where it is not `right`; `words` say what would be."""
    return None if right else f"{name}: {value}; allowed: {words}"


def at_least(name: str, value: float, least: int, unit: str = "") -> str | None:
    return allowed(value >= least, name, value, f"{least} or more{unit}")


def above_zero(name: str, value: float | None, words: str = "above 0") -> str | None:
    """Null is left to the option's type."""
    return allowed(value is None or 0 < value < math.inf, name, value, words)


def below_one(name: str, value: float) -> str | None:
    return allowed(0 <= value < 1, name, value, "0 up to, not including, 1")


def share(name: str, value: float) -> str | None:
    return allowed(0 <= value <= 1, name, value, "0 to 1, a share")


def seed(name: str, value: int) -> str | None:
    return allowed(0 <= value < SEEDS, name, value, "0 up to 2^63 - 1")
