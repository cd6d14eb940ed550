"""What a run that babbled, or hurt what it should keep, tells people to try."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unlearn.record.layout import LINES, RunFolder
from unlearn.report.advice import advice

WEIGHTING = "unlearn.weightings"


def run(
    folder: Path, repeated: float | None, beyond: int, weighting: str | None = "NGDiff"
) -> RunFolder:
    line = {"step": 1, "train/lr": 1e-3}
    (folder / LINES).write_text(json.dumps(line) + "\n", encoding="utf-8")
    method: dict[str, Any] = {
        "weighting": None if weighting is None else {"_target_": f"{WEIGHTING}.{weighting}"}
    }
    return RunFolder(
        folder,
        {
            "method": method,
            "metrics": {"after": {"forget/repetition": repeated}},
            "safety": {"first": 0.1, "bound": 0.35, "beyond": beyond},
        },
    )


@pytest.mark.parametrize(
    ("repeated", "beyond", "reasons"),
    [
        (0.95, 0, ["95% of the 4-grams"]),
        (0.05, 3, ["above 0.350 at 3 steps"]),
        (0.5, 1, ["50% of the 4-grams", "at one step"]),
    ],
)
def test_the_reasons_are_the_runs_own(
    tmp_path: Path, repeated: float, beyond: int, reasons: list[str]
) -> None:
    told = advice(run(tmp_path, repeated, beyond)) or ""
    assert told.startswith("method=ngdiff_guarded")
    assert all(reason in told for reason in reasons)


@pytest.mark.parametrize("repeated", [None, 0.0, 0.1])
def test_a_run_that_neither_babbled_nor_hurt_is_left_alone(
    tmp_path: Path, repeated: float | None
) -> None:
    assert advice(run(tmp_path, repeated, 0)) is None


def test_the_guarded_method_is_not_told_to_try_itself(tmp_path: Path) -> None:
    assert advice(run(tmp_path, 0.9, 5, "Guarded")) is None
    assert advice(run(tmp_path, 0.9, 5, None)) is not None


def test_a_folder_whose_record_is_broken_gives_none(tmp_path: Path) -> None:
    (tmp_path / LINES).write_text("", encoding="utf-8")
    assert advice(RunFolder(tmp_path, {"method": "ngdiff"})) is None
