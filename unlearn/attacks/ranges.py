"""The ranges of an attack's options, all told at once."""

from __future__ import annotations

import math

from unlearn.errors import ConfigurationError


def refuse(*problems: str | None) -> None:
    """Raise ConfigurationError with all problems that there are."""
    found = [problem for problem in problems if problem is not None]
    if found:
        raise ConfigurationError(found)


def at_least(name: str, value: int, least: int) -> str | None:
    return None if value >= least else f"{name}: {value}; allowed: {least} or more"


def within(name: str, value: float) -> str | None:
    return None if 0 < value < math.inf else f"{name}: {value}; allowed: above 0"
