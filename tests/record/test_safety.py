"""How safe the way was, told from the lines of a record."""

from __future__ import annotations

from typing import Any

import pytest

from unlearn.record.safety import SLACK, safety_of
from unlearn.report.wording import way_words


def lines(*losses: float | None) -> list[dict[str, Any]]:
    return [
        {"step": number, "train/lr": 1e-3, "train/retain_loss": loss}
        for number, loss in enumerate(losses, start=1)
    ]


def test_the_largest_loss_and_the_steps_beyond_the_bound() -> None:
    found = safety_of(lines(0.5, 0.4, 0.5 + SLACK, 3.0, 0.76, 0.1))
    assert found == {"first": 0.5, "largest": 3.0, "step": 4, "bound": 0.75, "beyond": 2}


def test_the_bound_itself_is_safe_and_a_later_minimum_lowers_it_not() -> None:
    found = safety_of(lines(1.0, 0.0, 1.0 + SLACK))
    assert found is not None
    assert found["beyond"] == 0


@pytest.mark.parametrize("losses", [(), (None, None)])
def test_without_a_retain_loss_nothing_is_said(losses: tuple[None, ...]) -> None:
    assert safety_of(lines(*losses)) is None


def test_it_is_told_in_one_sentence() -> None:
    found = safety_of(lines(0.002, 2.6, 0.01))
    assert found is not None
    assert way_words(found) == (
        "retain loss 0.002 at first, 2.60 at most (step 2); 1 step beyond 0.252"
    )
