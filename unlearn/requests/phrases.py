"""The words of certificates and decision pages: one file for each language."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def languages() -> tuple[str, ...]:
    """Return the languages that have a file, by their names."""
    here = files(__package__).joinpath("languages").iterdir()
    return tuple(sorted(file.name[:-5] for file in here if file.name.endswith(".yaml")))


@cache
def words_in(language: str) -> dict[str, Any]:
    """Return all words of a language."""
    file = files(__package__).joinpath("languages", f"{language}.yaml")
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")))
