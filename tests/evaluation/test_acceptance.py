"""What each rule means, and what becomes of a verdict."""

from __future__ import annotations

from typing import Any

import pytest

from unlearn.errors import ConfigurationError
from unlearn.evaluation.acceptance import Condition, condition_problems, judge

X = {"before": 2.0, "reference": 4.0}


def met(rule: dict[str, Any], value: float | None, base: float | None = 2.0) -> bool:
    condition = Condition.read({"metric": "m", **rule})
    metrics = {"after": {"m": value}, "before": {"m": base}, "reference": {"m": 4.0}}
    return condition.judge(metrics)["met"]


@pytest.mark.parametrize(
    ("rule", "inside", "outside", "bound", "words"),
    [
        ({"at_least": 0.5}, [0.5, 9], [0.49, -1], 0.5, "at least 0.5"),
        ({"at_most": 0.5}, [0.5, -9], [0.51], 0.5, "at most 0.5"),
        ({"at_least": 0.98, "of": "before"}, [1.96, 3], [1.95], 1.96, "at least 0.98 × before"),
        ({"at_most": 1.5, "of": "reference"}, [6, 0], [6.1], 6.0, "at most 1.5 × reference"),
        ({"within": [-5, 5]}, [-5, 0, 5], [-5.1, 5.1], [-5, 5], "within -5 to 5"),
        (
            {"within": [0.5, 2], "of": "before"},
            [1, 4],
            [0.9, 4.1],
            [1, 4],
            "within 0.5 to 2 × before",
        ),
        (
            {"within": 0.5, "of": "before"},
            [1.5, 2.5],
            [1.4, 2.6],
            [1.5, 2.5],
            "within 0.5 of before",
        ),
        ({"within": 0, "of": "reference"}, [4], [3.9, 4.1], [4, 4], "within 0 of reference"),
    ],
)
def test_a_rule(
    rule: dict[str, Any], inside: list[float], outside: list[float], bound: Any, words: str
) -> None:
    assert all(met(rule, value) for value in inside)
    assert not any(met(rule, value) for value in outside)
    condition = Condition.read({"metric": "m", **rule})
    judged = condition.judge({stage: {"m": x} for stage, x in {**X, "after": 1.0}.items()})
    assert judged["bound"] == pytest.approx(bound)
    assert judged["rule"] == words
    assert judged["value"] == 1.0


def test_a_missing_number_meets_nothing() -> None:
    assert not met({"at_least": -1e9}, None)
    assert not met({"at_most": 1e9}, None)
    assert not met({"at_least": 0, "of": "before"}, 1.0, base=None)
    condition = Condition.read({"metric": "m", "at_least": 0, "of": "reference"})
    assert condition.judge({"after": {"m": 1.0}, "reference": None})["bound"] is None


def test_distances_and_shares_of_negative_numbers() -> None:
    assert met({"within": 10, "of": "before"}, -105, base=-100)
    assert not met({"within": 10, "of": "before"}, -111, base=-100)
    assert met({"within": [0.9, 1.1], "of": "before"}, -105, base=-100)


def test_the_verdict_is_yes_where_all_are_met() -> None:
    rules = [
        {"metric": "a", "at_least": 1},
        {"metric": "b", "at_most": 0},
        {"metric": "a", "at_most": 3},
    ]
    conditions = [Condition.read(rule) for rule in rules]
    yes = judge(conditions, {"after": {"a": 2.0, "b": 0.0}})
    assert yes["accepted"] is True
    no = judge(conditions, {"after": {"a": 4.0, "b": 0.0}})
    assert no["accepted"] is False
    assert [condition["met"] for condition in no["conditions"]] == [True, True, False]
    assert judge([], {"after": {"a": 4.0}})["accepted"] is None


def test_all_that_is_wrong_with_a_rule_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Condition.read({"metric": 3, "at_least": "x", "off": "before"})
    assert len(caught.value.problems) == 3


def test_names_that_are_measured_later_are_let_through() -> None:
    names, later = {"forget/loss"}, ["kpi/", "attack/"]
    conditions = [
        Condition.read({"metric": metric, "at_most": 1})
        for metric in ("kpi/any", "attack/relearning/forget/loss", "forget/loss", "forget/lost")
    ]
    (problem,) = condition_problems(conditions, names, [], True, later)
    assert problem.startswith("accept.conditions[3].metric: 'forget/lost'")
    assert len(condition_problems(conditions, names, [], True)) == 3
