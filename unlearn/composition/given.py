"""Which options a command gives itself, as against those that it leaves at their defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

Given = dict[str, Any]
"""Value by the option's full name with points, groups included: ``method``, ``training.steps``."""


def given(overrides: Sequence[str]) -> Given:
    """Return what the overrides of a job set; what they take away is not among it."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {
        one.key_or_group.replace("/", ".").lstrip("."): one.value()
        for one in parsed
        if not one.is_delete() and one.key_or_group.split("/")[0].split(".")[0] != "hydra"
    }
