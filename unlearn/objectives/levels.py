"""The level of forgetting that is enough: a name, or nats a token."""

from __future__ import annotations

import math

from unlearn.errors import ConfigurationError
from unlearn.options.declared import Range

LEVELS = ("auto", "reference", "holdout")
"""`reference`: the row's own mean NLL under the retain-only model; `holdout`: the mean of the
holdout rows under the target; `auto`: the first of them that is there."""
ADVICE = (
    "give reference=train, or the path of a retain-only model or of the base that the model was "
    "fine-tuned from; holdout rows; or a number in nats a token"
)
"""What helps where there is no level, in the order in which such levels are to be trusted."""


def level_problems(field: str, level: object, reference: str) -> list[str]:
    """Return the problem with a level that no model of this run can give, where it is one."""
    if level != "reference" or reference != "none":
        return []
    return [f"{field}: reference, but reference=none; {ADVICE} (level holdout or auto)"]


def _is_level(value: object) -> bool:
    try:
        level_of(value)
    except ConfigurationError:
        return False
    return True


LEVEL = Range("auto, reference, holdout, or a number above 0 (nats a token)", _is_level, null=False)


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
