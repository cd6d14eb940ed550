"""conf/ and the option tables of docs/ say what the parts declare: nothing is written twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from docs.conf_from_parts import ROOT, default_of, meanings, parts, paths, range_of, text_of
from unlearn.weightings import TorchJDWeighting

OURS = [(group, path, kind) for group, path, kind in parts() if kind is not TorchJDWeighting]


@pytest.mark.parametrize("path", paths(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_differs_from_what_the_parts_declare(path: Path) -> None:
    assert path.read_text("utf-8") == text_of(path), "run `make conf`"


def test_every_option_of_ours_has_a_meaning_and_a_range() -> None:
    assert len(OURS) > 25
    for _, path, kind in OURS:
        for field in dataclasses.fields(kind):
            assert meanings(kind)[field.name], (path.name, field.name)
            assert range_of(field), (path.name, field.name)


def test_a_declared_default_is_inside_its_range() -> None:
    for _, path, kind in OURS:
        for field in dataclasses.fields(kind):
            if field.metadata.get("conf") is None and field.name != "alternatives":
                allowed = range_of(field)
                assert allowed is not None
                assert allowed.holds(default_of(field)), (path.name, field.name)
