"""Accuracy of multiple choice, by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from unlearn.data.row_checks import checked
from unlearn.data.splits import Judged, Row, Splits
from unlearn.errors import DataError, UnlearnError
from unlearn.evaluation.summarising import summarise
from unlearn.metrics.choice import accuracy


def table(*rows: tuple[float, ...], tokens: int = 1) -> pd.DataFrame:
    """One row a question: S of the true answer, then of the wrong ones."""
    lines = [
        ("bio", index, "perturbed" if number else "answer", max(number - 1, 0), nll, tokens, 0)
        for index, sums in enumerate(rows)
        for number, nll in enumerate(sums)
    ]
    names = ["split", "index", "kind", "number", "nll_sum", "tokens", "hits"]
    return pd.DataFrame(lines, columns=names)


def test_the_true_answer_has_to_be_the_likeliest_of_all() -> None:
    # Likeliest; second; tied, which is not right; likeliest of two.
    found = accuracy(table((1.0, 2.0, 3.0), (2.0, 1.0, 3.0), (1.0, 1.0, 2.0), (0.5, 0.6)))
    assert found == 2 / 4


def test_sums_count_and_not_means_per_token() -> None:
    """lm-evaluation-harness's `acc`: S = 4 in ten tokens is less likely than S = 3 in one."""
    scores = table((4.0, 3.0))
    scores.loc[0, "tokens"] = 10
    assert accuracy(scores) == 0


def test_the_order_of_the_table_is_free() -> None:
    scores = table((1.0, 2.0), (3.0, 2.0), (1.0, 5.0))
    assert accuracy(scores.sample(frac=1, random_state=3)) == accuracy(scores) == 2 / 3


def test_what_cannot_be_told() -> None:
    assert math.isnan(accuracy(table((1.0, math.inf))))
    with pytest.raises(UnlearnError, match="same questions"):
        accuracy(table((1.0, 2.0), (1.0,)))


def test_a_split_is_judged_as_its_reader_says() -> None:
    scores = table((1.0, 2.0), (2.0, 1.0))
    free = summarise(scores, [], None).metrics
    choice = summarise(scores, [], None, judged={"bio": Judged("keep", "multiple_choice")}).metrics
    assert "bio/accuracy" not in free
    assert choice["bio/accuracy"] == 0.5
    first = math.exp(-1) / (math.exp(-1) + math.exp(-2))
    assert choice["bio/probability"] == pytest.approx((first + 1 - first) / 2)
    assert free["bio/probability"] == pytest.approx((math.exp(-1) + math.exp(-2)) / 2)
    # To be forgotten: 1 where right and wrong look alike, min(R, 1/R) and not max(0, 1 - R).
    gone = summarise(scores, [], None, judged={"bio": Judged("forget")}).metrics
    assert gone["bio/truth_ratio"] == pytest.approx(math.exp(-1))
    assert free["bio/truth_ratio"] == pytest.approx((1 - math.exp(-1)) / 2)


def test_rows_without_wrong_answers_are_refused() -> None:
    rows, other = [Row("q", "a", perturbed_answers=("b",)), Row("r", "a")], [Row("s", "a")]
    judged = {"forget": Judged("forget", "multiple_choice")}
    with pytest.raises(DataError, match="forget: multiple choice, but 1 of 2 rows"):
        checked(Splits("mine", rows, other, {"forget": rows}, judged=judged))
