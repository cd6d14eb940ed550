"""Whole runs on made-up folders in the layouts of WMDP, LUME, RWKU and KnowUnDo."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from support.command import QUICK, SMALL, Command
from support.published_like import (
    QUESTIONS_OF_RWKU,
    write_corpora,
    write_knowundo,
    write_lume,
    write_rwku,
    write_wmdp,
)

pytestmark = pytest.mark.slow
OWN = [word for word in SMALL if not word.startswith("data")]
OWN_QUICK = [word for word in QUICK if not word.startswith("data")]


def test_lume_gives_its_score_in_every_stage(unlearn: Command, tmp_path: Path) -> None:
    folder = write_lume(tmp_path / "lume")
    rule = "accept.conditions=[{metric: lume_score, at_least: 0.5}]"
    run = unlearn(*OWN, "data=lume", f"data.path={folder}", "model.template=raw", rule)
    assert run.status == 0, run.said
    for stage in ("before", "after", "reference"):
        flat = run.summary["metrics"][stage]
        assert 0 <= flat["lume_score"] <= 1
        assert 0 <= flat["forget/regurgitation_task1"] <= 1
        assert "model_utility" not in flat, "its own score stands for it"
    assert run.summary["better"]["forget/knowledge_task2"] == "lower"
    assert run.summary["better"]["lume_score"] == "higher"
    report = (run.folder / "report.md").read_text()
    assert "`lume_score`" in report
    assert run.summary["provenance"]["evaluation"]["template"] == "raw"


def test_wmdp_measures_its_questions(unlearn: Command, tmp_path: Path) -> None:
    folder = write_wmdp(tmp_path / "wmdp", {"chem": 408})
    corpora = write_corpora(tmp_path / "corpora")
    paths = (f"data.path={folder}", f"data.corpora={corpora}", "data.questions=[chem]")
    more = ("data.forget_rows=4", "data.retain_rows=8", "model.max_length=128")
    run = unlearn(*OWN_QUICK, "data=wmdp_cyber", *paths, *more)
    assert run.status == 0, run.said
    after = run.summary["metrics"]["after"]
    assert 0 <= after["wmdp_chem/accuracy"] <= 1
    assert run.summary["better"]["wmdp_chem/accuracy"] == "lower"
    assert math.isfinite(after["forget/loss"])


def test_knowundo_scores_what_was_not_trained_on(unlearn: Command, tmp_path: Path) -> None:
    folder = write_knowundo(tmp_path / "knowundo", "privacy")
    words = ("data=knowundo_privacy", f"data.path={folder}", "evaluation.end_token=false")
    run = unlearn(*OWN_QUICK, *words)
    assert run.status == 0, run.said
    after = run.summary["metrics"]["after"]
    for split in ("forget_val", "retain_val"):
        assert 0 <= after[f"{split}/exact_memorization"] <= 1
    assert run.summary["better"]["forget_val/exact_memorization"] == "lower"


def test_rwku_asks_at_every_level(unlearn: Command, tmp_path: Path) -> None:
    folder = write_rwku(tmp_path / "rwku", QUESTIONS_OF_RWKU)
    run = unlearn(*OWN_QUICK, "data=rwku", f"data.path={folder}", "data.subjects=[Emil Varn]")
    assert run.status == 0, run.said
    after = run.summary["metrics"]["after"]
    asked = {*(f"forget/level{n}" for n in (1, 2, 3)), "neighbor/level1", "neighbor/level2"}
    assert asked | {"utility/factuality"} <= after.keys()
    assert after["utility_general/accuracy"] is not None
    assert after["utility_truthfulness/accuracy"] is not None
    assert run.summary["better"]["neighbor/level1"] == "higher"
    assert run.summary["better"]["forget/level3"] == "lower"
