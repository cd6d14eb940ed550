"""A step of each loop in a process of its own: what is measured, and the table of it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks import apart


@pytest.mark.parametrize("loop", apart.LOOPS)
def test_a_step_takes_time_and_memory(loop: str) -> None:
    found = apart.measure("small", loop)
    assert 0 < found["seconds"] < 10
    assert 0 <= found["system"] <= found["seconds"]
    assert found["pages"] >= 0
    assert found["peak"] > 1e8  # torch alone is more


def test_ratios_are_of_the_same_round() -> None:
    """A machine that is twice as slow in the second round changes no ratio."""
    rounds = [
        {
            loop: {"seconds": slow * takes, "system": 0.0, "pages": 3.0, "peak": 1e9}
            for loop, takes in (("plain", 2.0), ("NGDiff", 1.8), ("GradDiff", 1.5))
        }
        for slow in (1, 2)
    ]
    page = io.StringIO()
    Console(file=page, width=100).print(apart.table_of(rounds))
    lines = page.getvalue().splitlines()
    assert any("NGDiff" in line and "0.900 – 0.900" in line for line in lines)
    assert any("GradDiff" in line and "0.750 – 0.750" in line for line in lines)
