"""A finished run scored again, and a saved model measured: nothing trained, no record changed."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from support.command import (
    SMALL,
    Command,
    Done,
    clean_hydra,
    entries_in,
    files_in,
    row,
    write_rows,
)

from unlearn.record.stamp import write_stamped
from unlearn.report.comparison.likeness import differences
from unlearn.report.comparison.runs import read_runs

pytestmark = pytest.mark.slow

ROWS = "evaluation.rows=4"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run with a reference, scored on four rows a split."""
    done = Command(tmp_path_factory.mktemp("finished"))(*SMALL, ROWS)
    assert done.status == 0, done.said
    return done


@pytest.fixture
def run(finished: Done, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(finished.folder, tmp_path / "run"))


def evaluate(*words: str | Path) -> Done:
    """The command in this process; `folder` is where a result of --name again would lie."""
    from unlearn.commands import evaluate as command

    out, err = io.StringIO(), io.StringIO()
    status = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        clean_hydra(),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["unlearn-evaluate", *map(str, words)])
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        try:
            command.main()
        except SystemExit as end:
            status = int(end.code or 0)
    first = next((Path(word) for word in words if Path(word).is_dir()), Path())
    return Done(status, out.getvalue(), err.getvalue(), first / "evaluations" / "again")


def record(done: Done) -> dict[str, Any]:
    return json.loads((done.folder / "record.json").read_text())


def unlike(*folders: Path) -> list[str]:
    """What keeps two results from being compared."""
    runs, problems = read_runs(folders)
    assert problems == []
    return differences(*runs)


def test_the_same_suite_gives_the_same_numbers(run: Path, own_cache: Path) -> None:
    before, prepared = files_in(run), set((own_cache / "prepared").iterdir())
    done = evaluate(run, "--name", "again")
    assert done.status == 0, done.said
    summary = json.loads((run / "summary.json").read_text())
    found = record(done)
    assert found["metrics"] == summary["metrics"]
    assert found["better"] == summary["better"] != {}
    assert unlike(done.folder, run) == []
    assert found["changed"] == []
    assert found["overrides"] == summary["overrides"]
    after = files_in(run)
    assert {name: after[name] for name in before} == before, "the record of the run stays"
    assert all(name.startswith("evaluations/again/") for name in after.keys() - before.keys())
    assert {path.name for path in done.folder.iterdir()} == {
        "record.json",
        "before",
        "after",
        "reference",
    }
    assert set((own_cache / "prepared").iterdir()) == prepared, "nothing was trained"
    assert f"{summary['name']}: again" in done.out
    assert "forget ROUGE-L recall" in done.out


def test_another_suite_with_rules_and_measures(run: Path) -> None:
    done = evaluate(
        "evaluation.rows=2",
        run,
        "evaluation.kpis=[{_target_: support.own_measures.looks, better: {size: lower}}]",
        "accept.conditions=[{metric: kpi/entries, at_least: 1, of: before}]",
        "--name",
        "again",
    )
    assert done.status == 0, done.said
    found = record(done)
    assert found["verdict"]["accepted"] is True
    assert found["better"]["kpi/size"] == "lower"
    assert found["provenance"]["evaluation"]["rows"]["retain"] == 2
    assert found["provenance"]["evaluation"]["rows"]["forget"] == 8, "never cut"
    assert all(found["metrics"][s]["kpi/size"] > 0 for s in ("before", "after", "reference"))
    (told,) = unlike(done.folder, run)
    assert told.startswith("evaluated rows: ") and "retain 2" in told and "retain 4" in told
    assert "Accepted: 1 of 1 conditions met" in done.out


def test_a_finished_run_is_attacked_as_the_run_would_have_been(run: Path, unlearn: Command) -> None:
    attack = "attack=[quantization,probing]"
    done = evaluate(run, attack, "--name", "again")
    assert done.status == 0, done.said
    at_once = unlearn(*SMALL, ROWS, attack)
    assert at_once.status == 0, at_once.said
    assert record(done)["metrics"] == at_once.summary["metrics"]
    assert record(done)["attacks"] == at_once.summary["attacks"]
    assert "attack/quantization" in record(done)["metrics"]["reference"]
    wrong = evaluate(run, attack, "accept.conditions=[{metric: attack/relearning, at_most: 1}]")
    assert wrong.status == 2
    assert "attack/relearning' is not measured here" in wrong.said


def test_a_verdict_that_is_no_under_strict(run: Path) -> None:
    rule = "accept.conditions=[{metric: forget/loss, at_least: 1000}]"
    assert evaluate(run, rule).status == 0
    done = evaluate(run, rule, "accept.strict=true")
    assert done.status == 3
    assert "Not accepted" in done.out


def test_one_broken_run_does_not_stop_the_others(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = evaluate(run, tmp_path / "empty", tmp_path / "nowhere", "--name", "again")
    assert done.status == 2
    assert done.err.count("ERROR") == 2
    assert f"{tmp_path / 'empty'}: no summary.json" in done.err
    assert (done.folder / "record.json").is_file()


def test_without_a_name_each_call_has_a_folder_of_its_own(run: Path) -> None:
    for _ in range(2):
        assert evaluate(run, "evaluation.rows=1", "reference=none").status == 0
    records = list((run / "evaluations").glob("*/record.json"))
    assert len(records) == 2
    found = [json.loads(r.read_text()) for r in records]
    assert all(one["metrics"]["reference"] is None for one in found)
    assert unlike(*(path.parent for path in records)) == []
    assert unlike(records[0].parent, run)[0].startswith("evaluated rows: ")


def test_models_that_are_gone(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Target and reference of the run lie in a cache that was emptied since."""
    summary = json.loads((run / "summary.json").read_text())
    for role in ("target", "reference"):
        summary["model"][role]["path"] = str(tmp_path / "gone" / role)
    write_stamped(run / "summary.json", summary)
    done = evaluate(run, "--name", "again")
    assert done.status == 0, done.said
    for role, stage in (("target", "before"), ("reference", "reference")):
        assert f"WARNING {stage}: not measured, as the run's {role} is gone" in done.err
    found = record(done)
    assert found["metrics"]["before"] is found["metrics"]["reference"] is None
    after = {k: v for k, v in summary["metrics"]["after"].items() if k in found["metrics"]["after"]}
    assert found["metrics"]["after"] == after
    assert sum("is gone" in note for note in found["notes"]) == 2
    rule = "accept.conditions=[{metric: forget/loss, at_least: 1, of: before}]"
    refused = evaluate(run, rule)
    assert refused.status == 2
    assert refused.err.count("of: before, but the target is not there") == 1


def test_other_weights_under_the_targets_name(run: Path, tmp_path: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["model"]["target"]["path"] = str(run / "model")
    write_stamped(run / "summary.json", summary)
    done = evaluate(run, "--name", "again")
    assert done.status == 0, done.said
    assert "no longer holds the weights of the run's target" in done.err
    assert record(done)["metrics"]["before"] is None


REFUSED: dict[str, tuple[list[str], str]] = {
    "method": (["method=graddiff"], "method=graddiff: the run's model was made without it"),
    "steps": (["training.steps=3"], "training.steps=3: the run's model was made without it"),
    "an adapter": (["model.adapter.rank=2"], "model.adapter.rank=2: the run's model was made"),
    "another model": (["model.path=here"], "model.path=here: the run's model was made without it"),
    "sweep": (["evaluation.rows=1,2"], "evaluation.rows=1,2: a sweep"),
    "option": (["evaluation.row=1"], "evaluation.row"),
    "range": (["evaluation.rows=0"], "evaluation.rows: 0; allowed: above 0"),
    "training": (["reference=train"], "reference: train, but nothing is trained here"),
    "rule": (["accept.conditions=[{metric: forget/los, at_most: 1}]"], "did you mean forget/loss"),
    "rule on the reference": (
        ["reference=none", "accept.conditions=[{metric: privleak, at_most: 1}]"],
        "privleak is measured against a reference, but reference=none",
    ),
    "name of a stage": (["--name", "after"], "--name: 'after'; allowed: letters"),
    "name of a path": (["--name", "../x"], "--name: '../x'; allowed: letters"),
    "data": (["data.path=./nowhere"], "data.path"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, run: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_model(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was made")

    monkeypatch.setattr("transformers.PreTrainedModel.__init__", no_model)
    before, cache = files_in(run), entries_in(empty_cache)
    words, told = REFUSED[case]
    done = evaluate(run, *words)
    assert done.status == 2, done.said
    assert done.err.count("ERROR") == 1
    assert told in done.err
    assert "Traceback" not in done.said
    assert files_in(run) == before
    assert entries_in(empty_cache) == cache


def change(key: str, value: Any) -> Callable[[Path], None]:
    def edit(run: Path) -> None:
        summary = json.loads((run / "summary.json").read_text())
        node = summary
        *parents, last = key.split("/")
        for parent in parents:
            node = node[parent]
        node[last] = value
        write_stamped(run / "summary.json", summary)

    return edit


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "failed": (change("status", "failed"), "the run is failed; only a completed one has a model"),
    "half a record": (
        lambda run: (run / "summary.json").write_text('{"schema": 1,'),
        "its record cannot be read",
    ),
    "no configuration": (
        lambda run: (run / ".hydra" / "config.yaml").unlink(),
        "no .hydra/config.yaml; give the folder of a finished run",
    ),
    "other rows": (change("provenance/data_sha256", "0" * 64), "the rows are no longer those"),
    "a name that is taken": (
        lambda run: (run / "evaluations" / "again").mkdir(),
        "again is there already; give another name",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_run(case: str, run: Path) -> None:
    damage, told = BROKEN[case]
    damage(run)
    before = files_in(run)
    done = evaluate(run, "--name", "again")
    assert done.status == 2, done.said
    assert done.err.count("ERROR") == 1
    assert told in done.err
    assert files_in(run) == before


def test_nothing_is_left_of_an_evaluation_that_fails(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_in(run)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unlearn.experiment.rescoring.write_stamped", full)
    done = evaluate(run, "--name", "again")
    assert done.status == 1
    assert "No space left" in done.err
    assert files_in(run) == before
    assert not list((run / "evaluations").glob(".*"))


# A saved model by itself: unlearn method=none model.path=…

MEASURE = (*SMALL, ROWS, "method=none", "model.fine_tuning.floor=0.99")
"""With a floor that no model here reaches: where a model may learn, it would."""


def test_a_runs_model_is_measured_as_it_is(
    finished: Done, unlearn: Command, own_cache: Path
) -> None:
    prepared = set((own_cache / "prepared").iterdir())
    reference = finished.summary["model"]["reference"]["path"]
    done = unlearn(*MEASURE, f"model.path={finished.folder}/model", f"reference={reference}")
    assert done.status == 0, done.said
    assert "as it is, since nothing is unlearned" in done.log
    assert done.summary["metrics"]["after"] == finished.summary["metrics"]["after"]
    assert done.summary["metrics"]["reference"] == finished.summary["metrics"]["reference"]
    assert set((own_cache / "prepared").iterdir()) == prepared
    assert done.summary["method"]["name"] == "none"
    again = evaluate(done.folder, "evaluation.rows=2", "--name", "again")
    assert again.status == 0, again.said
    assert record(again)["metrics"]["after"] == record(again)["metrics"]["before"]


def test_a_saved_model_on_rows_of_ones_own(
    finished: Done, unlearn: Command, own_cache: Path, tmp_path: Path
) -> None:
    prepared = set((own_cache / "prepared").iterdir())
    write_rows(tmp_path / "forget.jsonl", [row("Who lives there?", "Ada does.")])
    write_rows(tmp_path / "retain.jsonl", [row("Where is it?", "By the sea.")])
    own = ["data=files", "data.forget=forget.jsonl", "data.retain=retain.jsonl"]
    words = [word for word in MEASURE if not word.startswith("data")]
    done = unlearn(*words, *own, f"model.path={finished.folder}/model")
    assert done.status == 0, done.said
    assert done.summary["metrics"]["after"]["forget/loss"] > 0
    assert done.summary["metrics"]["reference"] is None
    assert set((own_cache / "prepared").iterdir()) == prepared


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, unlearn.commands.evaluate; "
        "sys.exit('torch' in sys.modules or 'hydra' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_only_overrides_are_no_run() -> None:
    done = evaluate("evaluation.rows=1")
    assert done.status == 2
    assert "no run: name at least one folder" in done.err
