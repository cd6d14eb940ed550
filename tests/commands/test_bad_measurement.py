"""What cannot be measured is told once and at once: rules, measures, references, benchmarks.

Wrong options of the attacks have tests of their own; a measure that fails on the way ends no run
(test_measures.py).
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.command import QUICK, SMALL, Command, Done, entries_in, row, write_rows
from support.muse_like import write_muse
from support.refusals import refused

from unlearn.errors import UnlearnError
from unlearn.evaluation.results import Evaluation
from unlearn.evaluation.summarising import summarise

pytestmark = pytest.mark.slow


def rule(text: str) -> str:
    return f"accept.conditions=[{{{text}}}]"


def measure(text: str) -> str:
    return f"evaluation.kpis={{good: {{{text}}}}}"


C, K = "accept.conditions[0]", "evaluation.kpis.good"
FILES = ["data=files", "data.forget=forget.jsonl", "data.retain=retain.jsonl"]
NONE = "reference=none"
REFUSED: dict[str, tuple[list[str], list[str]]] = {
    # rules on metrics that will not be there
    "misspelt metric": (
        [rule("metric: forget/rougeL_recal, at_most: 1")],
        [f"{C}.metric: 'forget/rougeL_recal' is not measured", "did you mean forget/rougeL_recall"],
    ),
    "metric without its split": (
        [rule("metric: rougeL_recall, at_most: 1")],
        [f"{C}.metric: 'rougeL_recall' is not measured", "retain/rougeL_recall"],
    ),
    "split that is not there": (
        [rule("metric: keep/probability, at_least: 1")],
        [f"{C}.metric: 'keep/probability'", "retain/probability"],
    ),
    "measure that nobody configured": (
        [rule("metric: kpi/pass_rate, at_least: 0.9")],
        [f"{C}.metric: 'kpi/pass_rate'", "evaluation.kpis names none"],
    ),
    "quality without a reference": (
        [NONE, rule("metric: forget_quality, at_least: 0.05")],
        [f"{C}.metric: forget_quality is measured against a reference", "reference=train"],
    ),
    "leakage without a reference": (
        [NONE, rule("metric: privleak, within: [-5, 5]")],
        [f"{C}.metric: privleak is measured against a reference", "reference=train"],
    ),
    "attack without a reference": (
        [NONE, rule("metric: mia_reference, at_most: 0.6")],
        [f"{C}.metric: mia_reference is measured against a reference"],
    ),
    "reference of the reference": (
        [rule("metric: privleak, within: 5, of: reference")],
        [f"{C}.of: reference, but privleak compares with the reference already"],
    ),
    "attack that was not asked for": (
        [rule("metric: mia_gradient_norm, at_most: 0.6")],
        [f"{C}.metric: 'mia_gradient_norm' is not measured"],
    ),
    "membership without holdout rows": (
        [*FILES, rule("metric: mia_min_k, at_most: 0.6")],
        [f"{C}.metric: 'mia_min_k' is not measured"],
    ),
    "truth ratio without wrong answers": (
        [*FILES, rule("metric: forget/truth_ratio, at_least: 0.6")],
        [f"{C}.metric: 'forget/truth_ratio' is not measured"],
    ),
    "answers of rows that nobody asks": (
        [rule("metric: holdout/rougeL_recall, at_most: 1")],
        [f"{C}.metric: 'holdout/rougeL_recall' is not measured"],
    ),
    # rules that say nothing
    "distance from nowhere": (
        [rule("metric: forget/loss, within: 0.1")],
        [f"{C}.within: 0.1 needs `of: before` or `of: reference`"],
    ),
    "bounds in the wrong order": (
        [rule("metric: forget/loss, within: [2, 1]")],
        [f"{C}.within: [2, 1]; allowed: [LOW, HIGH]"],
    ),
    "three bounds": (
        [rule("metric: forget/loss, within: [1, 2, 3]")],
        [f"{C}.within: [1, 2, 3]; allowed: [LOW, HIGH]"],
    ),
    "negative distance": (
        [rule("metric: forget/loss, within: -1, of: before")],
        [f"{C}.within: -1; allowed: 0 or more"],
    ),
    "distance in words": (
        [rule("metric: forget/loss, within: near, of: before")],
        [f"{C}.within: 'near' is no number"],
    ),
    "bound that is no number": (
        [rule("metric: forget/loss, at_most: nan")],
        [f"{C}.at_most: nan is no number"],
    ),
    "bound without end": (
        [rule("metric: forget/loss, at_most: inf")],
        [f"{C}.at_most: inf is no number"],
    ),
    "yes as a bound": (
        [rule("metric: forget/loss, at_most: true")],
        [f"{C}.at_most: True is no number"],
    ),
    "relative to what is judged": (
        [rule("metric: forget/loss, at_most: 1, of: after")],
        [f"{C}.of: 'after'; allowed: before, reference"],
    ),
    "two rules in one": (
        [rule("metric: forget/loss, at_most: 1, at_least: 0")],
        [f"{C}: give exactly one of at_least, at_most, within"],
    ),
    "rule without a metric": ([rule("at_most: 1")], [f"{C}.metric: None; give a name"]),
    # measures
    "unknown module": (
        [measure("_target_: nowhere.pass_rate")],
        [f"{K}._target_: 'nowhere.pass_rate' cannot be imported", "PYTHONPATH"],
    ),
    "unknown function": (
        [measure("_target_: support.own_measures.nothing")],
        [f"{K}._target_: 'support.own_measures.nothing' cannot be imported"],
    ),
    "module that raises": (
        [measure("_target_: support.bad_module.pass_rate")],
        [f"{K}._target_: 'support.bad_module.pass_rate' cannot be imported", "needs a database"],
    ),
    "no function": (
        [measure("_target_: support.own_measures.NO_FUNCTION")],
        [f"{K}._target_: 'support.own_measures.NO_FUNCTION' is a int, no function"],
    ),
    "no target": ([measure("questions: mine.jsonl")], [f"{K}._target_: not set"]),
    "a name alone": (
        ["evaluation.kpis=support.own_measures.looks"],
        ["evaluation.kpis: 'support.own_measures.looks'; allowed: {NAME:"],
    ),
    "option that the function lacks": (
        [measure("_target_: support.own_measures.looks, scal: 2")],
        [f"{K}._target_: 'support.own_measures.looks' cannot be called", "'scal'"],
    ),
    "option that the class lacks": (
        [measure("_target_: support.own_measures.Disturbs, at_lest: 2")],
        [f"{K}: ", "'at_lest'"],
    ),
    "function of a model alone": (
        [measure("_target_: support.own_measures.one_argument")],
        [
            f"{K}._target_: 'support.own_measures.one_argument' cannot be called with "
            "(model, tokenizer)"
        ],
    ),
    "function that asks for more": (
        [measure("_target_: support.own_measures.needs_more")],
        [f"{K}._target_: 'support.own_measures.needs_more' cannot be called", "'weights'"],
    ),
    "way that is none": (
        [measure("_target_: support.own_measures.looks, better: {size: small}")],
        [f"{K}.better: 'small'; allowed: higher, lower, reference"],
    ),
    "object that is not called": (
        [measure("_target_: support.own_measures.NotCalled")],
        [f"{K}._target_: 'support.own_measures.NotCalled' makes a NotCalled that cannot be called"],
    ),
    "everything at once": (
        [
            "evaluation.kpis=[{_target_: nowhere.f}, "
            "{_target_: support.own_measures.one_argument}]",
            rule("metric: forget/loss, within: 1"),
            "evaluation.min_k=0",
        ],
        ["evaluation.kpis[0]._target_", "evaluation.kpis[1]._target_", f"{C}.within", "min_k: 0"],
    ),
    # the suite
    "no rows": (["evaluation.rows=0"], ["evaluation.rows: 0; allowed: above 0"]),
    "no share": (["evaluation.min_k=0"], ["evaluation.min_k: 0.0; allowed: above 0 up to 1"]),
    "undefined share": (["evaluation.min_k=nan"], ["evaluation.min_k: nan; allowed: above 0"]),
    "no scoring batch": (["evaluation.score_tokens=0"], ["evaluation.score_tokens: 0; allowed"]),
    "no answering batch": (["evaluation.generate_tokens=-1"], ["evaluation.generate_tokens: -1"]),
    "maybe": (["evaluation.gradient_norm=maybe"], ["evaluation.gradient_norm=maybe"]),
    # benchmarks
    "MUSE without a part": (
        ["data=muse_news", "data.path=half"],
        ["data.path=half lacks privleak/forget", "hf download"],
    ),
    "MUSE of the other corpus": (
        ["data=muse_books", "data.path=whole/MUSE-News"],
        ["data.path=whole/MUSE-News is MUSE-News, but data.corpus=books"],
    ),
    "MUSE's measures on other data": (
        [rule("metric: forget/verbmem, at_most: 0.3")],
        [f"{C}.metric: 'forget/verbmem' is not measured"],
    ),
    "TOFU's measures on MUSE": (
        ["data=muse_news", "data.path=whole", rule("metric: model_utility, at_least: 0.5")],
        [f"{C}.metric: 'model_utility' is not measured"],
    ),
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of one's own, and a MUSE folder with and without its privleak part."""
    folder = tmp_path_factory.mktemp("shelf")
    write_rows(folder / "forget.jsonl", [row("Who?", "Ada."), row("When?", "In spring.")])
    write_rows(folder / "retain.jsonl", [row("Where?", "At sea."), row("Why?", "For tea.")])
    write_muse(folder / "whole" / "MUSE-News", suffix=".parquet")
    shutil.copytree(folder / "whole" / "MUSE-News", folder / "half")
    shutil.rmtree(folder / "half" / "privleak")
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_model(
    case: str, shelf: Path, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_model(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was made")

    monkeypatch.setattr("transformers.PreTrainedModel.__init__", no_model)
    overrides, fragments = REFUSED[case]
    other_data = any(word.startswith("data=") for word in overrides)
    small = [word for word in SMALL if not (other_data and word.startswith("data"))]
    before = entries_in(empty_cache)
    done = Command(shelf)(*small, *overrides, run=tmp_path / "run")
    refused(done, empty_cache, before, *fragments)


def test_there_are_thirty() -> None:
    assert len(REFUSED) >= 30


def test_a_rule_on_a_number_that_the_measure_does_not_give(unlearn: Command) -> None:
    """Only the measure knows its names, so this shows before training, and not before a model."""
    done = unlearn(
        *QUICK,
        measure("_target_: support.own_measures.looks"),
        rule("metric: kpi/entires, at_least: 1"),
    )
    assert done.status == 2
    told = f"{C}.metric: 'kpi/entires' is not measured here; did you mean kpi/entries"
    assert done.said.count(told) == 1
    assert not done.steps


# References.


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run with target and reference."""
    done = Command(tmp_path_factory.mktemp("prepared"))(*SMALL, "evaluation.rows=1", "method=none")
    assert done.status == 0, done.said
    return done


def path_of(done: Done, role: str) -> str:
    return done.summary["model"][role]["path"]


def test_a_reference_that_has_learnt_the_forget_rows(unlearn: Command, prepared: Done) -> None:
    done = unlearn(*QUICK, f"reference={path_of(prepared, 'target')}")
    assert done.status == 2
    assert done.said.count("has learnt 8 of the 8 forget rows") == 1
    assert not (done.folder / "evaluations").exists()


def test_a_reference_of_another_split(unlearn: Command, prepared: Done) -> None:
    path = path_of(prepared, "reference")
    done = unlearn(*QUICK, "data.retain_rows=20", f"reference={path}")
    assert done.status == 2
    assert done.said.count("has not learnt 4 of the 20 retain rows") == 1
    assert done.said.count("reference=train") == 1
    assert not (done.folder / "evaluations").exists()


def test_a_reference_with_another_tokenizer(
    unlearn: Command, prepared: Done, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    from unlearn.models.tiny import tiny_tokenizer

    folder = tmp_path / "other"
    model = AutoModelForCausalLM.from_pretrained(path_of(prepared, "reference"))
    model.lm_head.weight.data *= 2  # other weights: tables of the same ones are in the cache
    model.save_pretrained(folder)
    words = iter(["zebra quartz xylophone jukebox vivid wax"] * 9)
    tiny_tokenizer(words, 400).save_pretrained(folder)
    done = unlearn(*QUICK[:-3], f"reference={folder}", "evaluation.rows=1")
    assert done.status == 2, done.said
    assert done.said.count(f"reference: {folder} has another tokenizer") == 1
    assert "Traceback" not in done.said


def test_a_reference_with_a_smaller_vocabulary(
    unlearn: Command, prepared: Done, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "small"
    model = AutoModelForCausalLM.from_pretrained(path_of(prepared, "reference"))
    model.resize_token_embeddings(300)
    model.save_pretrained(folder)
    done = unlearn(*QUICK[:-3], f"reference={folder}", "evaluation.rows=1")
    assert done.status == 2, done.said
    assert done.said.count("has a vocabulary of 300 entries") == 1


def test_unequal_questions_of_model_and_reference(prepared: Done) -> None:
    """What no run does by itself: tables of other rows under the reference's name."""
    tables = pd.read_parquet(prepared.folder / "evaluations" / "after" / "scores.parquet")
    one = summarise(tables, [], None)
    moved = {form: ratios.set_axis(ratios.index + 1) for form, ratios in one.ratios.items()}
    other: Evaluation = replace(one, ratios=moved)
    with pytest.raises(UnlearnError, match=r"reference model.*index|index.*reference model"):
        summarise(tables, [], other)
