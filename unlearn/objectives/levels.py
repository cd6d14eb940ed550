"""The level of forgetting that is enough: a name, or nats a token."""

from __future__ import annotations

import math

from unlearn.errors import ConfigurationError
from unlearn.options.declared import Range

LEVELS = ("reference", "holdout")


def level_problems(field: str, level: object, reference: str) -> list[str]:
    """Return the problem with a level that no model of this run can give, where it is one."""
    if level != "reference" or reference != "none":
        return []
    return [
        f"{field}: reference, but reference=none; give reference=train, the path of a retain-only "
        "model, or the level holdout"
    ]


def _is_level(value: object) -> bool:
    try:
        level_of(value)
    except ConfigurationError:
        return False
    return True


LEVEL = Range("reference, holdout, or a number above 0 (nats a token)", _is_level, null=False)


def level_of(value: object) -> str | float:
    """Return a level as a name or as nats a token; raises ConfigurationError."""
    if isinstance(value, str) and value in LEVELS:
        return value
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigurationError(f"{value!r}; allowed: {LEVEL.words}")
    return number
