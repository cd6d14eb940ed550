"""What a reader says of its splits: what it changes, and what it leaves as it was."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support import tiny

from unlearn.data.splits import USUAL, Judged, Row, Splits
from unlearn.data.tokens import Encoder
from unlearn.evaluation.names import catalogue_of, measurable
from unlearn.evaluation.suites import Suite
from unlearn.evaluation.summarising import summarise
from unlearn.options.schema import EvaluationConfig

ROWS = [
    Row("Who kept the lighthouse?", "Odile.", perturbed_answers=("Emil.", "Nobody.")),
    Row("Who painted it?", "Emil.", perturbed_answers=("Odile.", "Nobody.")),
]
STRANGERS = [Row("Who came?", "Anna."), Row("Who went?", "Paul, by sea.")]


def suite(evaluated: dict[str, list[Row]], **judged: Judged) -> Suite:
    config = EvaluationConfig(max_new_tokens=2)
    return Suite(evaluated, Encoder(tiny.tokenizer()), config, tiny.COMPUTE, None, judged)


def test_multiple_choice_and_texts_are_not_asked() -> None:
    forms = {"free": 2, "choices": 2, "multiple_choice": 0, "text": 0}
    for form, asked in forms.items():
        made = suite({"bio": ROWS}, bio=Judged("keep", form))
        assert len(made.asked) == asked
        splits = Splits("s", ROWS, ROWS, {"bio": ROWS}, judged={"bio": Judged("keep", form)})
        found = made.evaluate(tiny.model(), "before", None).metrics
        assert measurable(splits, made.config, reference=False) == found.keys()
        assert ("bio/accuracy" in found) == (form == "multiple_choice")
        assert catalogue_of(splits).better({"before": found})["bio/probability"] == "higher"


def test_only_what_changes_a_number_changes_the_name_of_an_evaluation() -> None:
    made = {"forget": ROWS, "bio": ROWS}
    plain = suite(made)
    same = suite(made, forget=USUAL["forget"], bio=Judged())
    other = suite(made, bio=Judged("keep", "choices"))
    names = [json.dumps([one.fingerprint, one.identity]) for one in (plain, same, other)]
    assert names[0] == names[1] != names[2]
    splits = Splits("s", ROWS, STRANGERS, made)
    assert replace(splits, judged={"bio": Judged("keep")}).sha256 == splits.sha256


def test_rows_that_no_model_has_seen_may_have_any_name() -> None:
    usual = suite({"forget": ROWS, "holdout": STRANGERS})
    named = suite({"forget": ROWS, "strangers": STRANGERS}, strangers=Judged("unseen"))
    assert named.attacked == ("forget", "strangers")
    found, expected = (one.evaluate(tiny.model(), "before", None).metrics for one in (named, usual))
    attacks = {name: value for name, value in expected.items() if name.startswith("mia_")}
    assert len(attacks) == 4
    assert {name: found[name] for name in attacks} == attacks
    assert suite({"forget": ROWS, "strangers": STRANGERS}).attacked == ()


def test_the_reference_has_to_have_seen_the_same_strangers() -> None:
    judged = {"strangers": Judged("unseen")}
    table = suite({"forget": ROWS, "strangers": STRANGERS}, **judged).score(tiny.model(), "after")
    reference = summarise(table, [], None, judged=judged)
    found = summarise(table, [], reference, judged=judged).metrics
    assert (found["privleak"], found["mia_reference"]) == pytest.approx((0, 0.5))
