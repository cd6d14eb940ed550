"""What a comparison with benchmarks/baselines.json says has moved, and that the file has it all."""

from __future__ import annotations

import json

import pytest

from benchmarks.baselines import FILE, moved
from benchmarks.methods import method_names


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (6.0, 6.0, None),
        (6.0, 7.0, "worse"),
        (6.0, 5.9, "better"),
        ([0.8, 0.9, 1.0], [0.95, 1.1, 1.2], None),
        ([0.8, 0.9, 1.0], [1.01, 1.1, 1.2], None),  # within the slack
        ([0.8, 0.9, 1.0], [1.03, 1.1, 1.2], "worse"),
        ([0.8, 0.9, 1.0], [0.5, 0.6, 0.77], "better"),
    ],
)
def test_a_figure_has_moved_where_it_lies_outside(
    before: float | list[float], now: float | list[float], said: str | None
) -> None:
    assert moved({"a": before}, {"a": now}).get("a") == said


def test_what_is_new_or_gone_is_named() -> None:
    assert moved({"a": 1.0}, {"b": 1.0}) == {"a": "gone", "b": "new"}


def test_every_method_is_in_the_file() -> None:
    held = json.loads(FILE.read_text(encoding="utf-8"))
    assert {f"passes a step, {name}" for name in method_names()} <= held.keys()
    assert all(value > 0 for value in held.values() if not isinstance(value, list))
