"""A damaged file of cache, checkpoint or record is never believed in silence.

After each damage the same command ends as if there had been none, with a line that names the file,
or it is refused in one line with status 2. A few in every test run; all of them by `make faults`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command import SMALL, Command, Done
from support.damage import flip
from support.damaged_state import (
    Harm,
    State,
    of_cache,
    of_checkpoints,
    of_finished,
    of_record,
    outcome,
)

from unlearn.report.comparison.runs import read_runs

pytestmark = pytest.mark.slow

WORDS = (
    *SMALL,
    "method=npo",
    "training.steps=6",
    "training.checkpoint_every=2",
    "evaluation.every=3",
    "evaluation.best=retain/rougeL_recall",
    "evaluation.rows=2",
    "evaluation.max_new_tokens=1",
)
CUT = dict(of_cache()) | dict(of_checkpoints()) | dict(of_record())
FINISHED = dict(of_finished())
QUICK = {
    "target: another rms_norm_eps",
    "tables: a digit",
    "checkpoint: state.pt bit",
    "lines: half",
    "answers: a digit",
    "summary: a digit",
}
"""Tried in every test run."""


def named(harms: dict[str, Harm]) -> list[Any]:
    whole = (pytest.mark.faults,)
    return [pytest.param(name, marks=() if name in QUICK else whole) for name in harms]


class Home:
    """A run that ended, the same one cut twice, and the cache of both."""

    def __init__(self, folder: Path) -> None:
        from unlearn.training.trainer import Trainer

        self.command, cache = Command(folder), folder / "cache"
        step = Trainer.step

        def until(last: int) -> Any:
            def stopped(trainer: Trainer) -> dict[str, Any]:
                if trainer.done == last:
                    raise KeyboardInterrupt
                return step(trainer)

            return stopped

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UNLEARN_CACHE", str(cache))
            self.whole = self.command(*WORDS, run=folder / "whole")
            assert self.whole.status == 0, self.whole.said
            for last in (3, 5):
                patch.setattr(Trainer, "step", until(last))
                assert self.command(*WORDS, run=folder / "cut").status == 130
                if last == 3:
                    self.older = folder / "step_2"
                    shutil.copytree(folder / "cut" / "checkpoints" / "step_2", self.older)
        self.cut, self.ended = State(cache, folder / "cut"), State(cache, folder / "whole")
        self.outcome = outcome(self.whole)

    def again(self, state: State) -> Done:
        """Give the same command again."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UNLEARN_CACHE", str(state.cache))
            patch.setattr("support.command.undeclared", lambda _: [])  # it reads the summary
            return self.command(*WORDS, run=state.run)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    yield Home(tmp_path_factory.mktemp("home"))


def refusals(done: Done) -> list[str]:
    lines = done.said.splitlines()
    return [line for line in lines if " ERROR " in line or line.startswith("unlearn: ")]


def require_told(done: Done, harm: Harm, expected: dict[str, Any]) -> None:
    """Require the undamaged outcome and a line that names the file, or a refusal that does."""
    assert "Traceback" not in done.said, done.said
    assert harm.named in done.said, done.said
    if done.status == 2:
        (line,) = refusals(done)
        assert harm.named in line
    else:
        assert done.status == 0, done.said
        assert outcome(done) == expected


@pytest.mark.parametrize("name", named(CUT))
def test_a_run_that_goes_on(name: str, home: Home, tmp_path: Path) -> None:
    state = home.cut.copy(tmp_path)
    CUT[name].do(state)
    require_told(home.again(state), CUT[name], home.outcome)


@pytest.mark.parametrize("name", named(FINISHED))
def test_a_run_that_is_complete(name: str, home: Home, tmp_path: Path) -> None:
    state = home.ended.copy(tmp_path)
    assert read_runs([state.run])[1] == [], "it was sound"
    FINISHED[name].do(state)
    (problem,) = read_runs([state.run])[1]
    assert FINISHED[name].named in problem
    done = home.again(state)
    assert done.status == 2, done.said
    (line,) = refusals(done)
    assert FINISHED[name].named in line or "is no folder of ours" in line


@pytest.mark.faults
def test_the_older_state_is_gone_on_from(home: Home, tmp_path: Path) -> None:
    """A run that was killed between writing a checkpoint and removing the one before."""
    state = home.cut.copy(tmp_path)
    flip(state.checkpoint / "state.pt")
    shutil.copytree(home.older, state.run / "checkpoints" / "step_2")
    done = home.again(state)
    assert "is removed; the run goes on from step_2, which is older" in done.said
    assert done.status == 0, done.said
    assert outcome(done) == home.outcome


@pytest.mark.faults
def test_nothing_is_told_where_nothing_is_damaged(home: Home, tmp_path: Path) -> None:
    done = home.again(home.cut.copy(tmp_path))
    assert done.status == 0, done.said
    assert outcome(done) == home.outcome
    assert not any(word in done.said for word in ("broken", "begins anew", " ERROR "))


@pytest.mark.faults
def test_a_read_only_cache_serves_a_run(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, access = home.cut.copy(tmp_path), os.access

    def asked(path: Any, mode: int) -> bool:
        inside = Path(path).is_relative_to(state.cache)
        return not (inside and mode & os.W_OK) and access(path, mode)

    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in state.cache.rglob("*") if path.is_file()}

    monkeypatch.setattr(os, "access", asked)
    before = content()
    flip(state.entries("sums")[0] / "sums.json")
    damaged = content()
    done = home.again(state)
    assert done.status == 0, done.said
    assert outcome(done) == home.outcome
    assert "sums.json is not as it was written) and is made anew" in done.said
    assert content() == damaged != before
