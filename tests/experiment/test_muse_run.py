"""Whole runs on a MUSE-like folder, from the command line to the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.command import AUTOCAST, DESCENT, SMALL, Command, Done
from support.muse_like import parts, write_muse

from unlearn.report.comparison import compare

TINY = ("data=muse_news", *SMALL[3:], "model.max_length=160")
"""The small run of the other tests, its data exchanged."""
QUIZZES = ("forget/verbmem", "forget/knowmem", "retain/knowmem")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run on a folder in the hub's layout, with a reference and evaluations on the way."""
    folder = tmp_path_factory.mktemp("muse")
    write_muse(folder / "MUSE-News", suffix=".parquet")
    command = Command(tmp_path_factory.mktemp("runs"))
    done = command(*TINY, f"data.path={folder}", "evaluation.every=2")
    assert done.status == 0, done.said
    return done


def generations(done: Done, stage: str) -> list[dict[str, Any]]:
    path = done.folder / "evaluations" / stage / "generations.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_stage_has_the_scores_of_muse(whole: Done) -> None:
    stages = whole.summary["metrics"]
    assert set(stages) == {"before", "after", "reference"}
    for metrics in stages.values():
        assert all(0 <= metrics[name] <= 1 for name in QUIZZES)
        assert {f"{split}/loss" for split in ("forget", "retain", "holdout")} <= set(metrics)
        # TOFU's measures of whole models have no meaning here.
        assert not {name for name in metrics if "utility" in name or "quality" in name}
        assert not {name for name in metrics if "recall" in name}
    evaluated = [line for line in whole.lines if line.get("stage") == "step_2"]
    assert all(name in evaluated[0] for name in QUIZZES)


def test_the_names_that_are_known_before_are_those_that_were_measured(whole: Done) -> None:
    from unlearn.data.muse import Muse
    from unlearn.evaluation.names import measurable
    from unlearn.options.schema import EvaluationConfig

    splits = Muse(whole.summary["data"]["path"]).read()
    known = measurable(splits, EvaluationConfig(), reference=True)
    assert known == whole.summary["metrics"]["after"].keys()


def test_every_answer_is_kept(whole: Done) -> None:
    lines = generations(whole, "after")
    asked = parts()
    for name, part in zip(
        QUIZZES, ("verbmem/forget", "knowmem/forget_qa", "knowmem/retain_qa"), strict=True
    ):
        mine = [line for line in lines if f"{line['split']}/{line['quiz']}" == name]
        questions = [record.get("question", record.get("prompt")) for record in asked[part]]
        assert [line["question"] for line in mine] == questions
        mean = sum(line["rougeL_f1"] for line in mine) / len(mine)
        assert whole.summary["metrics"]["after"][name] == pytest.approx(mean)
    assert len(lines) == 3 + 4 + 4


def test_the_report_tells_of_them(whole: Done) -> None:
    page = (whole.folder / "report.md").read_text(encoding="utf-8")
    assert "ROUGE-L F1 of the forget passages' continuations went from" in page
    for name in QUIZZES:
        assert f"| `{name}` |" in page
        assert f"### {name}: " in page
    assert "with a ROUGE-L F1 of" in page
    for label in ("passages recited", "forget questions answered", "retain questions answered"):
        assert label in whole.out


def test_runs_are_compared_by_them_where_one_has_them(whole: Done) -> None:
    (section,) = compare([whole.folder]).sections
    ((run,),) = (group.numbers for group in section.groups)
    assert set(QUIZZES) <= set(run)
    assert set(QUIZZES) <= set(section.columns)
    assert section.measure == "knowmem"


def test_texts_are_trained_on_in_windows(whole: Done, unlearn: Command) -> None:
    """A model that takes half as many tokens has more rows, and so a longer epoch."""
    (origin,) = (word for word in whole.summary["overrides"] if word.startswith("data.path="))
    half = unlearn(*TINY, origin, "model.max_length=80", "reference=none")
    assert half.status == 0, half.said
    epochs = {done: done.steps[-1]["epoch"] for done in (whole, half)}
    assert epochs[half] < epochs[whole]


def test_a_second_request_starts_from_what_the_first_left(whole: Done, unlearn: Command) -> None:
    (origin,) = (word for word in whole.summary["overrides"] if word.startswith("data.path="))
    second = unlearn(*TINY, origin, "data.request=sust_2", f"model.path={whole.folder / 'model'}")
    assert second.status == 0, second.said
    first = whole.summary["provenance"]
    assert second.summary["provenance"]["data_sha256"] != first["data_sha256"]
    before, after = second.summary["metrics"]["before"], whole.summary["metrics"]["after"]
    assert {name: before[name] for name in QUIZZES} == {name: after[name] for name in QUIZZES}
    assert second.summary["metrics"]["reference"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.path=empty"], "is not MUSE's: it has no folder raw, verbmem, knowmem or privleak"),
        (["data.request=sust_9"], "data.request=sust_9: give one of forget, scal_1"),
        (["data.corpus=books", "data.path=MUSE-News"], "data.corpus=books is MUSE-Books"),
        (["evaluation.stemmer=maybe"], "evaluation.stemmer"),
        (["method=idk"], "rows are plain text without a question"),
    ],
)
def test_what_is_wrong_is_said_before_any_model_loads(
    words: list[str], said: str, whole: Done, unlearn: Command, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (origin,) = (word for word in whole.summary["overrides"] if word.startswith("data.path="))
    named = [] if any(word.startswith("data.path") for word in words) else [origin]
    done = unlearn(*TINY, *named, *words)
    assert done.status == 2
    assert said in done.said
    assert "Traceback" not in done.said
    assert not (done.folder / "evaluations").exists()


LEARNING = (
    "data=muse_news",
    *("model.tiny.hidden_size=64", "model.tiny.layers=2", "model.tiny.heads=2"),
    *("model.tiny.intermediate_size=128", "model.tiny.vocabulary=400"),
    *("model.max_length=192", "model.fine_tuning.epochs=100", "reference=none"),
    *("training.steps=60", "training.batch_size=8", "tracker=none"),
    *(*DESCENT, AUTOCAST),
)
"""A model that is large enough to learn the articles by heart, in a few seconds."""


@pytest.mark.slow
@pytest.mark.trains
def test_passages_that_were_recited_are_forgotten(tmp_path: Path, unlearn: Command) -> None:
    write_muse(tmp_path / "muse")
    done = unlearn(*LEARNING, f"data.path={tmp_path}/muse")
    assert done.status == 0, done.said
    before, after = (done.summary["metrics"][stage] for stage in ("before", "after"))
    assert before["forget/verbmem"] > 0.9
    assert after["forget/verbmem"] < 0.5
    assert after["forget/loss"] > before["forget/loss"] + 1
