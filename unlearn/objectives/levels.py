"""The level of forgetting that is enough: a name, or nats a token."""

from __future__ import annotations

import math

from unlearn.errors import ConfigurationError

LEVELS = ("reference", "holdout")


def level_of(value: object) -> str | float:
    """Return a level as a name or as nats a token; raises ConfigurationError."""
    if isinstance(value, str) and value in LEVELS:
        return value
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigurationError(
            f"{value!r}; allowed: {', '.join(LEVELS)}, or a number above 0 (nats a token)"
        )
    return number
