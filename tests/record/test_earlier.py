"""Runs that an earlier version left still open, or are refused in one clear line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from support.command import Command, files_in

from unlearn.commands import compare, evaluate
from unlearn.record.layout import Progress, progress_of, read_run

EARLIER = Path(__file__).parent / "earlier"


@pytest.fixture
def complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The complete run, where its own command can find its rows."""
    shutil.copytree(EARLIER, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return Path("complete")


def test_its_parts_are_named_by_where_they_are_now() -> None:
    recorded = (EARLIER / "complete" / ".hydra" / "config.yaml").read_text(encoding="utf-8")
    assert "unlearn.data.files.Files" in recorded
    run = read_run(EARLIER / "complete")
    assert run.config["data"]["_target_"] == "unlearn.data.own_files.Files"
    assert run.catalogue.better({"after": {"forget/probability": 0.1}}) == {
        "forget/probability": "lower"
    }


def test_unlearn_compare_shows_it(
    complete: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["unlearn-compare", str(complete), "--out", "shown"])
    compare.main()
    page = Path("shown/comparison.html").read_text(encoding="utf-8")
    assert "Mira Holt keeps it." in page
    with Path("shown/comparison.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    recorded = json.loads((complete / "summary.json").read_text())["metrics"]["after"]
    shown = {name: float(row[name]) for name in ("forget/probability", "retain/probability")}
    assert shown == pytest.approx({name: recorded[name] for name in shown}, rel=1e-4)
    assert "left out" not in capsys.readouterr().out


def test_unlearn_evaluate_measures_its_model_again(
    complete: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_in(complete)
    monkeypatch.setattr("sys.argv", ["unlearn-evaluate", str(complete), "--name", "again"])
    with pytest.raises(SystemExit) as ended:
        evaluate.main()
    assert ended.value.code == 0
    record = json.loads((complete / "evaluations" / "again" / "record.json").read_text())
    recorded = json.loads((complete / "summary.json").read_text())
    for name, value in recorded["metrics"]["after"].items():
        if value is not None and name in record["metrics"]["after"]:
            assert record["metrics"]["after"][name] == pytest.approx(value, rel=1e-3, abs=1e-4)
    assert "before: not measured" in " ".join(record["notes"]), "its target is gone, which is said"
    assert {k: v for k, v in files_in(complete).items() if k in before} == before


def test_a_cut_run_is_refused_in_one_line(unlearn: Command, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(EARLIER / "cut", folder)
    assert progress_of(folder) is Progress.begun
    before = files_in(folder)
    done = unlearn("data=minitofu", run=folder)
    assert done.status == 2
    (line,) = [line for line in done.err.splitlines() if line.strip()]
    assert "begun by another version of unlearn" in line
    assert "give a folder of its own" in line
    assert {k: v for k, v in files_in(folder).items() if k != "unlearn.log"} == before
