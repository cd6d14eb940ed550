"""Which options a command gives itself, as against those that it leaves at their defaults."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString, Sweep
from hydra.errors import HydraException

Given = dict[str, Any]
"""Value by the option's full name with points, groups included: ``method``, ``training.steps``."""


def odd_choice(words: Sequence[str]) -> str | None:
    """Return the word that chooses what is no name of a group of ours, as ``method=null`` does."""
    for word in words:
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException:
            continue
        group, value = override.key_or_group, override.value()
        chosen = value if isinstance(value, list) else [value]
        if all(isinstance(one, (str, QuotedString, Sweep, dict)) for one in chosen):
            continue
        ours = re.fullmatch(r"\w+(/\w+)*", group)
        if not group or (ours and files("unlearn.conf").joinpath(group).is_dir()):
            return word
    return None


def given(overrides: Sequence[str]) -> Given:
    """Return what the overrides of a job set; what they take away is not among it."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {
        one.key_or_group.replace("/", ".").lstrip("."): one.value()
        for one in parsed
        if not one.is_delete() and one.key_or_group.split("/")[0].split(".")[0] != "hydra"
    }
