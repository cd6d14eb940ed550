"""The meta-evaluation: its chance by counting pairs, and a whole try with 2 + 2 models."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from support.command import SMALL

from benchmarks.meta_evaluation import auc, interval, lines_of, measured, page_of, table_of

FLAT = {"forget/probability": 0.1, "forget/loss": 2.0, "mia_loss": 0.5, "retain/loss": 0.1}


def test_the_chance_is_that_of_all_pairs() -> None:
    draw = np.random.default_rng(0)
    worse, better = draw.integers(0, 6, 9).tolist(), draw.integers(0, 5, 7).tolist()
    below = sum(b < w for b, w in itertools.product(better, worse))
    ties = sum(b == w for b, w in itertools.product(better, worse))
    assert auc(worse, better) == pytest.approx((below + ties / 2) / 63)
    low, high = interval(worse, better)
    assert 0 <= low <= auc(worse, better) <= high <= 1
    assert interval([2.0, 3.0], [0.0, 1.0]) == (1, 1)


def test_lines_say_what_a_metric_tells_and_how_far_it_moves() -> None:
    found = {
        "with": [FLAT | {"forget/probability": p, "mia_loss": 1.0} for p in (0.9, 1.0)],
        "without": [FLAT | {"forget/probability": p} for p in (0.12, 0.08)],
        "relearning": [FLAT | {"forget/probability": p} for p in (0.2, 0.17)],
        "int8": [FLAT, FLAT],
    }
    lines = {line.metric: line for line in lines_of(FLAT, found)}
    assert set(lines) == {"forget/probability", "forget/loss", "mia_loss"}
    p = lines["forget/probability"]
    assert p.auc == (1, 1, 1)
    assert p.moved["relearning"] == pytest.approx((0.185 - 0.1) / 0.85)
    assert p.moved["int8"] == pytest.approx(0, abs=1e-12)
    assert lines["forget/loss"].auc[0] == 0.5, "the same of all models tells nothing"
    assert lines["mia_loss"].auc[0] == 1
    found["int8"][0]["mia_loss"] = None
    assert "mia_loss" not in {line.metric for line in lines_of(FLAT, found)}
    table = table_of(list(lines.values()))
    assert "| `forget/probability` | 1.000 | 1.000 to 1.000 | +0.100 | +0.000 |" in table
    assert table in page_of(list(lines.values()), 2, [])


@pytest.mark.slow
@pytest.mark.trains
def test_two_and_two_models_and_again_from_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [word for word in SMALL if word != "tracker=none"]
    first = measured(words, 2)
    monkeypatch.setattr("benchmarks.meta_evaluation.Suite.evaluate", None)  # nothing is left to do
    assert measured(words, 2) == first
    assert {kind: len(flats) for kind, flats in first[1].items()} == {
        "with": 2,
        "without": 2,
        "relearning": 2,
        "int8": 2,
    }
    kinds = first[1]
    assert kinds["without"][0]["forget/loss"] != kinds["without"][1]["forget/loss"]
    assert kinds["relearning"][0]["forget/loss"] < kinds["without"][0]["forget/loss"]
