"""Business measures: where they are logged, what they may not disturb, and how they fail."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from support import own_measures
from support.command import QUICK, SMALL, Command, Done

from unlearn.compute.undisturbed import undisturbed
from unlearn.evaluation.measures import Measure, _values_of, measures_of
from unlearn.evaluation.names import OF_REFERENCE
from unlearn.options.parts import Problems
from unlearn.report.markdown import words

pytestmark = pytest.mark.slow

SEE = "evaluation.kpis={seen: {_target_: support.own_measures.looks, scale: 2}}"
STAGES = ("before", "after", "reference")
KPIS = "evaluation.kpis"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run with a measure in every stage, and rules on it."""
    own_measures.CALLS.clear()
    run = Command(tmp_path_factory.mktemp("measures"))(
        *SMALL,
        "evaluation.every=2",
        "evaluation.gradient_norm=true",
        SEE,
        "accept.conditions=[{metric: kpi/entries, at_least: 1, of: before},"
        "{metric: kpi/size, within: [0, 0.001]}]",
    )
    assert run.status == 0, run.said
    return run


def test_every_stage_has_the_numbers_everywhere(done: Done) -> None:
    for stage in STAGES:
        flat = done.summary["metrics"][stage]
        assert flat["kpi/size"] > 0
        assert flat["kpi/entries"] <= 400
    logged = {line["stage"]: line for line in done.lines if "stage" in line}
    assert logged.keys() == {*STAGES, "step_2"}
    assert all(line["kpi/size"] > 0 for line in logged.values())
    written = (done.folder / "evaluations" / "step_2" / "metrics.json").read_text()
    assert '"kpi/size"' in written
    report = (done.folder / "report.md").read_text()
    assert "`kpi/size`" in report


def test_it_is_the_model_of_the_stage(done: Done) -> None:
    sizes = {done.summary["metrics"][stage]["kpi/size"] for stage in STAGES}
    assert len(sizes) == 3
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(done.folder / "model")
    size = 2 * next(model.parameters()).double().abs().mean().item()
    assert done.summary["metrics"]["after"]["kpi/size"] == pytest.approx(size, rel=1e-12)


def test_the_state_in_which_it_is_called(done: Done) -> None:
    assert len(own_measures.CALLS) == 4
    assert {call["training"] for call in own_measures.CALLS} == {False}
    assert {call["gradients"] for call in own_measures.CALLS} == {False}
    assert len({call["drawn"] for call in own_measures.CALLS}) == 1, "one seed in every stage"


def test_the_names_that_are_known_before_are_those_that_were_measured(done: Done) -> None:
    from unlearn.data.minitofu import MiniTofu
    from unlearn.evaluation.names import measurable
    from unlearn.options.schema import EvaluationConfig

    splits = MiniTofu(forget_rows=8, retain_rows=16).read()
    for stage in STAGES:
        known = measurable(splits, EvaluationConfig(gradient_norm=True), stage != "reference")
        flat = done.summary["metrics"][stage]
        assert known == {name for name in flat if not name.startswith("kpi/")}
    assert set(OF_REFERENCE) <= done.summary["metrics"]["after"].keys()


def test_the_verdict_is_told_everywhere(done: Done) -> None:
    judged = done.summary["verdict"]["conditions"]
    assert [condition["met"] for condition in judged] == [True, False]
    assert judged[1]["rule"] == "within 0 to 0.001"
    assert judged[1]["bound"] == [0, 0.001]
    report = (done.folder / "report.md").read_text()
    assert "at least 1 × before = " in report
    assert "at least 1 x before = " in done.out
    assert "within 0 to 0.001" in report
    assert "within 0 to 0.001" in done.out
    assert "Not accepted: 1 of 2 conditions met" in done.out


def test_what_was_asked_is_part_of_the_key(done: Done) -> None:
    node = {"_target_": "support.own_measures.looks", "scale": 2}
    assert done.summary["provenance"]["evaluation"]["kpis"] == {"seen": node}


def test_a_measure_changes_no_bit_of_the_training(unlearn: Command) -> None:
    words = [*QUICK, "evaluation.every=1", "method.weighting._target_=support.own_measures.Draws"]
    plain = unlearn(*words)
    assert plain.status == 0, plain.said
    measured = unlearn(
        *words, "evaluation.kpis=[{_target_: support.own_measures.Disturbs, words: [a]}]"
    )
    assert measured.status == 0, measured.said
    assert measured.weights == plain.weights
    after = measured.summary["metrics"]["after"]
    assert {name: after[name] for name in after if name.startswith("kpi/")} == {
        "kpi/numpy": 0.5,
        "kpi/tensor": 2,
        "kpi/met": 1,
    }


def test_everything_is_put_back() -> None:
    class Tokenizer:
        padding_side = "right"

    model, tokenizer = torch.nn.Linear(2, 2), Tokenizer()
    model.train()

    def draw() -> tuple[Any, ...]:
        return torch.rand(3).tolist(), random.random(), np.random.random()

    def seed() -> None:
        torch.manual_seed(5), random.seed(5), np.random.seed(5)

    seed()
    expected = draw()
    seed()
    with pytest.raises(RuntimeError), undisturbed(model, tokenizer):
        assert not model.training
        own_measures.Disturbs()(model, tokenizer)
        raise RuntimeError
    assert draw() == expected
    assert model.training
    assert torch.is_grad_enabled()
    assert tokenizer.padding_side == "right"


# What a measure may ask for, and what it declares.


def test_a_measure_reads_rows_encoder_and_scores(unlearn: Command) -> None:
    own_measures.GIVEN.clear()
    words = (*QUICK, "evaluation.every=2")
    plain = unlearn(*words)
    done = unlearn(
        *words, "evaluation.kpis={mine: {_target_: support.own_measures.reads, better: reference}}"
    )
    assert done.status == 0, done.said
    for stage in ("before", "after"):
        flat = done.summary["metrics"][stage]
        assert flat["kpi/loss"] == pytest.approx(flat["forget/loss"], rel=1e-12)
        assert flat["kpi/rows"] == 8  # the forget set, whole
        ours = {name: value for name, value in flat.items() if not name.startswith("kpi/")}
        assert ours == plain.summary["metrics"][stage], "what it does with them stays its own"
    assert len(own_measures.GIVEN) == 3
    (given, *_) = own_measures.GIVEN
    rows, encoder = given["rows"], given["encoder"]
    assert {"forget", "retain", "holdout"} <= rows.keys()
    length = len(encoder.encode(rows["forget"][0].question, rows["forget"][0].answer).answer)
    assert length == given["scores"]["tokens"].iloc[0]
    assert done.summary["better"]["kpi/loss"] == "reference"
    table = pd.read_parquet(done.folder / "evaluations" / "after" / "scores.parquet")
    assert (table["nll_sum"] > 0).all()


def test_what_it_declares_is_no_part_of_what_was_asked() -> None:
    node = {"_target_": "support.own_measures.looks", "scale": 2}
    problems = Problems()
    one = measures_of({"seen": node}, problems)
    other = measures_of({"seen": {**node, "better": "lower"}}, problems)
    assert problems.found == []
    assert one.identity == other.identity == {"seen": node}
    assert other.promised("kpi/size").better == "lower"
    assert one.promised("kpi/size").better is None


def test_the_configuration_wins_over_the_attribute() -> None:
    problems = Problems()
    node = {"_target_": "support.own_measures.KnowsItsWay", "better": {"kpi/toxicity": 0.5}}
    (measure,) = measures_of([node], problems).each
    assert problems.found == []
    assert measure.metric("kpi/toxicity").better == 0.5
    assert measure.metric("kpi/other").better is None


def test_report_terminal_and_record_say_which_way(unlearn: Command) -> None:
    done = unlearn(
        *QUICK,
        "evaluation.kpis={a: {_target_: support.own_measures.looks, better: {size: lower}}}",
        "accept.conditions=[{metric: kpi/size, at_most: 9}]",
    )
    assert done.status == 0, done.said
    lines = (done.folder / "report.md").read_text().splitlines()
    ways = {line.split("`")[1]: line.split("|")[-2].strip() for line in lines if "| `" in line}
    assert (ways["kpi/size"], ways["kpi/entries"]) == ("lower", "")
    (shown,) = [line for line in done.out.splitlines() if line.startswith("│ kpi/size")]
    assert "lower" in shown
    better = done.summary["better"]
    assert better["kpi/size"] == "lower"
    assert "kpi/entries" not in better
    assert better["forget/probability"] == "lower"
    assert "holdout/loss" not in better


# Measures that fail.

FAILS = {
    # how: what is said, and what is left of share and other
    "raises": ("raised ZeroDivisionError: division by zero in somebody's code", None, None),
    "exits": ("raised SystemExit: a script's end", None, None),
    "list": ("returned a list; allowed: a dict", None, None),
    "nothing": ("returned a NoneType; allowed: a dict", None, None),
    "empty": ("gave no kpi/share, kpi/other", None, None),
    "nan": ("share is nan, no finite number", None, 2),
    "infinite": ("share is inf, no finite number", None, 2),
    "text": ("share is a str, no finite number", None, 2),
    "vector": ("share is a ndarray, no finite number", None, 2),
    "no name": ("'' is no name", 1, 2),
    "number as name": ("3 is no name", 1, 2),
    "fewer": ("gave no kpi/share", None, 2),
}


@pytest.mark.parametrize("how", FAILS)
def test_a_failure_costs_its_own_number_and_is_noted(how: str) -> None:
    measure = Measure("evaluation.kpis.pass", {"_target_": "mine.f"}, own_measures.Counts(how, 2))
    notes: list[str] = []
    assert _values_of(measure, None, None, notes) == {"kpi/share": 1, "kpi/other": 2}
    assert notes == []
    told, share, other = FAILS[how]
    assert _values_of(measure, None, None, notes) == {"kpi/share": share, "kpi/other": other}
    (note,) = notes
    assert note.startswith("evaluation.kpis.pass (mine.f): ")
    assert told in note


@pytest.mark.parametrize(
    ("option", "names"), [("evaluation.kpis.share", ["kpi/share"]), ("evaluation.kpis[0]", [])]
)
def test_without_an_earlier_stage_the_key_is_the_name(option: str, names: list[str]) -> None:
    measure = Measure(option, {"_target_": "mine.f"}, own_measures.Counts("raises"))
    notes: list[str] = []
    assert _values_of(measure, None, None, notes) == dict.fromkeys(names)
    assert len(notes) == 1


@pytest.mark.parametrize("how", ["raises", "exits", "nan", "list"])
def test_a_failing_measure_loses_no_other_result(how: str, unlearn: Command) -> None:
    clean = unlearn(*QUICK)
    failing = f"bad: {{_target_: support.own_measures.Counts, how: {how}, at: 2}}"
    good = "good: {_target_: support.own_measures.looks}"
    done = unlearn(
        *QUICK,
        f"evaluation.kpis={{{failing}, {good}}}",
        "accept.conditions=[{metric: kpi/share, at_least: 1}, {metric: forget/loss, at_least: 0}]",
    )
    assert done.status == 0, done.said
    assert done.summary["status"] == "completed"
    before, after = (done.summary["metrics"][stage] for stage in ("before", "after"))
    assert (before["kpi/share"], after["kpi/share"]) == (1, None)
    assert after["kpi/size"] > 0
    assert {k: v for k, v in after.items() if not k.startswith("kpi/")} == clean.summary["metrics"][
        "after"
    ]
    assert [c["met"] for c in done.summary["verdict"]["conditions"]] == [False, True]
    assert done.log.count("WARNING after: evaluation.kpis.bad (support.own_measures.Counts)") == 1
    assert "Traceback" not in done.said
    (note,) = [note for note in done.summary["notes"] if "kpis.bad" in note]
    assert note.startswith("after: ")
    assert words(note) in (done.folder / "report.md").read_text()


def test_a_name_that_two_measures_give(unlearn: Command) -> None:
    one = "{_target_: support.own_measures.looks, scale: %d}"
    done = unlearn(*QUICK, f"evaluation.kpis=[{one % 1}, {one % 2}]")
    assert done.status == 0, done.said
    after = done.summary["metrics"]["after"]
    assert after["kpi/size"] is None
    assert after["kpi/entries"] is None
    told = "evaluation.kpis[1] (support.own_measures.looks): kpi/size was measured by another one"
    assert done.log.count(f"WARNING after: {told}") == 1
    assert math.isfinite(after["forget/loss"])
