"""How a sweep ends: a line a job and a comparison, whatever became of the jobs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support.fabricated_sweep import fabricate_sweep

from unlearn.composition import sweep
from unlearn.composition.sweep import CompareJobs, closing_sweep
from unlearn.errors import UnlearnError

WRITTEN = ("comparison.csv", "comparison.html", "pareto.png")


def start(folder: Path) -> CompareJobs:
    callback = CompareJobs()
    callback.on_multirun_start(OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}}))
    return callback


def test_a_sweep_that_ends_well_is_compared_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fabricate_sweep(tmp_path, groups=2, seeds=2)
    with closing_sweep():
        start(tmp_path).on_multirun_end(OmegaConf.create())
    said = capsys.readouterr().out
    assert all((tmp_path / name).is_file() for name in WRITTEN)
    lines = [line.split() for line in said.splitlines()]
    jobs = [line for line in lines if line and line[0].isdigit()]
    assert [line[0] for line in jobs] == ["0", "1", "2", "3"]
    assert jobs[3][1:5] == ["method=linear", "method.weighting.retain_share=0.667", "1", "0.377"]
    assert said.count("not completed: method=npo seed=7: method.forget.beta: -1 is out") == 1
    assert said.count("not completed: method=ga seed=0: NumericalError: step 3") == 1


def test_a_sweep_with_a_failure_is_compared_and_fails_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fabricate_sweep(tmp_path, groups=1, seeds=1)
    error = UnlearnError("the job's")
    with pytest.raises(UnlearnError) as raised, closing_sweep():
        start(tmp_path)
        raise error
    assert raised.value is error
    assert all((tmp_path / name).is_file() for name in WRITTEN)
    assert "not completed: method=ga" in capsys.readouterr().out


def test_a_comparison_that_fails_does_not_undo_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fabricate_sweep(tmp_path, groups=1, seeds=1)

    def broken(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("unlearn.report.comparison.write_comparison", broken)
    with caplog.at_level(logging.ERROR), closing_sweep():
        start(tmp_path).on_multirun_end(OmegaConf.create())
    assert "unlearn-compare makes it" in caplog.text
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize("made", [True, False])
def test_where_no_job_began_there_is_nothing_to_say(
    made: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sweep"
    if made:
        folder.mkdir()
    with pytest.raises(ValueError, match="wrong override"), closing_sweep():
        start(folder)
        raise ValueError("wrong override")
    assert capsys.readouterr().out == ""
    assert not made or list(folder.iterdir()) == []


def test_a_sweep_stopped_by_hand_is_left_as_it_is(tmp_path: Path) -> None:
    fabricate_sweep(tmp_path, groups=1, seeds=1)
    with pytest.raises(KeyboardInterrupt), closing_sweep():
        start(tmp_path)
        raise KeyboardInterrupt
    assert not (tmp_path / "comparison.csv").exists()
    assert sweep._open == []
