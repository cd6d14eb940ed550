"""training.until: when it is enough, and which levels can be named."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from unlearn.errors import ConfigurationError
from unlearn.objectives import (
    NPO,
    WGA,
    Ascent,
    BoundedAscent,
    NegativeLogLikelihood,
    NoObjective,
    Objective,
)
from unlearn.objectives.levels import level_of
from unlearn.options.schema import TrainingConfig
from unlearn.training.stopping import StopRule
from unlearn.training.unlearning import stop_rule


class Climbing:
    """A forget loss that grows by one nat at every check, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return float(self.asked)


@pytest.mark.parametrize(
    ("value", "level"),
    [
        ("auto", "auto"),
        ("reference", "reference"),
        ("holdout", "holdout"),
        (2, 2.0),
        ("2.5", 2.5),
        (1e-3, 1e-3),
    ],
)
def test_a_level_is_a_name_or_nats_a_token(value: object, level: str | float) -> None:
    assert level_of(value) == level


@pytest.mark.parametrize("value", ["target", 0, -1, math.nan, math.inf, "", True, [2]])
def test_any_other_level_is_refused_with_what_is_allowed(value: object) -> None:
    with pytest.raises(ConfigurationError, match="allowed: auto, reference, holdout, or a number"):
        level_of(value)


def test_the_forget_rows_are_scored_at_checks_only() -> None:
    loss = Climbing()
    rule = StopRule(level=10.0, every=5, forget_loss=loss)
    found = [rule.check(step) for step in range(1, 21)]
    assert loss.asked == 4
    assert [step for step, f in enumerate(found, start=1) if f is not None] == [5, 10, 15, 20]


def test_it_is_enough_at_the_first_check_that_finds_the_level_reached() -> None:
    rule = StopRule(level=3.0, every=1, forget_loss=Climbing())
    answers = [rule.check(step) for step in (1, 2, 3, 4)]
    assert [a and a["until/enough"] for a in answers] == [False, False, True, True]
    assert answers[2] == {"until/forget_loss": 3.0, "until/level": 3.0, "until/enough": True}


def test_with_a_slack_it_waits_until_the_retain_loss_is_back() -> None:
    rule = StopRule(level=0.5, every=2, forget_loss=Climbing(), retain_slack=0.1)
    losses = [0.2, 0.9, 0.8, 0.5, 0.25, 0.3]  # means between checks: 0.55, 0.65, 0.275
    answers = []
    for step, loss in enumerate(losses, start=1):
        rule.saw(loss)
        answers.append(rule.check(step))
    assert [a["until/enough"] for a in answers if a is not None] == [False, False, True]


def test_without_a_retain_task_there_is_nothing_to_wait_for() -> None:
    rule = StopRule(level=0.5, every=1, forget_loss=Climbing(), retain_slack=0.1)
    rule.saw(None)
    found = rule.check(1)
    assert found is not None
    assert found["until/enough"] is True


def ruled(forget: Objective, until: object, has_level: bool = True) -> StopRule | None:
    plan = SimpleNamespace(
        training=TrainingConfig(until=until, steps=7), method=SimpleNamespace(forget=forget)
    )
    level = torch.tensor([2.0, 4.0])
    resources = SimpleNamespace(
        has_level=has_level, level=lambda name: level, forget_loss=Climbing()
    )
    return stop_rule(cast(Any, plan), cast(Any, resources))


@pytest.mark.parametrize("forget", [Ascent(), WGA()])
def test_auto_ends_a_loss_that_has_no_end_at_the_level_that_is_there(forget: Objective) -> None:
    rule = ruled(forget, "auto")
    assert rule is not None
    assert rule.level == 3.0


@pytest.mark.parametrize(
    "forget",
    [
        NPO(),
        NoObjective(),
        BoundedAscent(1.0),
        BoundedAscent(1.0, fade=2.0),
        NegativeLogLikelihood(),
    ],
)
def test_auto_takes_every_step_of_a_loss_that_ends_by_itself(forget: Objective) -> None:
    assert ruled(forget, "auto") is None
    assert ruled(forget, 3.0) is not None


def test_auto_without_a_level_takes_every_step_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        assert ruled(Ascent(), "auto", has_level=False) is None
    assert "neither a reference nor holdout rows" in caplog.text
    assert "all 7 steps" in caplog.text
    assert ruled(Ascent(), None) is None
