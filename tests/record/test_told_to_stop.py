"""SIGTERM and SIGUSR1 keep one checkpoint and say how to go on; two starts share no folder."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from support.command import QUICK, Command, Done, files_in
from support.forked import Forked
from support.killing import results

from unlearn.console import signals
from unlearn.console.signals import Stopped, held, obeyed, stoppable, working
from unlearn.errors import ConfigurationError, Interrupted
from unlearn.record.checkpoints import newest_of
from unlearn.record.claim import claim, claimed, release_all
from unlearn.record.layout import BEGUN, Progress, progress_of, read_run
from unlearn.record.resuming import finished_run, other_options

UNKEPT = ("training.checkpoint_every=0", "training.checkpoint_minutes=null")
LONGER = (*QUICK, "training.steps=9", "evaluation.every=3", *UNKEPT)


def send_to_self(number: int) -> None:
    os.kill(os.getpid(), number)


# A signal: where it is obeyed.


def test_a_signal_is_obeyed_at_once_but_for_what_is_held() -> None:
    done = []
    with pytest.raises(Stopped) as stopped, stoppable():
        with held():
            send_to_self(signal.SIGTERM)
            done.append("what was begun")
        done.append("what comes next")
    assert done == ["what was begun"]
    assert (str(stopped.value), signals.exit_status(stopped.value)) == ("SIGTERM", 143)
    with pytest.raises(Stopped) as stopped, stoppable():
        send_to_self(signal.SIGUSR1)
    assert signals.exit_status(stopped.value) == 138


def test_within_what_is_held_a_place_may_obey() -> None:
    done = []
    with pytest.raises(Stopped), stoppable(), held():
        send_to_self(signal.SIGTERM)
        done.append("held")
        with obeyed():
            done.append("never")
    assert done == ["held"]


def test_what_ends_is_not_ended_again_by_its_own_cleaning_up() -> None:
    with pytest.raises(Stopped), stoppable():
        try:
            send_to_self(signal.SIGTERM)
        finally:
            with held():
                kept = True
    assert kept


def test_the_second_signal_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    # A shell that starts the tests in the background has them ignore it, and it stays so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), stoppable():
            try:
                send_to_self(signal.SIGINT)
            except KeyboardInterrupt:
                send_to_self(signal.SIGTERM)
                raise
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == [143]


def test_handlers_are_put_back_and_those_that_are_ignored_stay_so() -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with stoppable():
            assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def submitit(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Handlers as submitit puts them up before a job; what reached its own that hands in again."""
    handed: list[int] = []

    def handing_in(number: int, frame: FrameType | None) -> None:
        handed.append(number)

    numbers = (signal.SIGTERM, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGUSR2, handing_in)
    monkeypatch.setattr(signals, "_asked", type(signals._asked)())
    yield handed
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_submitit_is_called_after_the_run_has_kept_its_state(submitit: list[int]) -> None:
    with pytest.raises(Stopped) as stopped, working():
        send_to_self(signal.SIGTERM)  # which submitit ignores
        with held():
            send_to_self(signal.SIGUSR2)
            assert submitit == []
    signals.handed_on(stopped.value)
    assert submitit == [signal.SIGUSR2]
    send_to_self(signal.SIGUSR2)  # between two jobs it is theirs alone
    assert submitit == [signal.SIGUSR2] * 2


# A run that is stopped.


def stop_at(place: str, step: int, patch: pytest.MonkeyPatch) -> None:
    """Send SIGTERM once: within a step, while the state after it is measured, or at the end."""
    from unlearn.evaluation.suites import Suite
    from unlearn.training.trainer import Trainer

    take, evaluate = Trainer.step, Suite.evaluate

    def stepping(self: Trainer) -> dict[str, Any]:
        if place == "step" and self.done == step - 1:
            send_to_self(signal.SIGTERM)
        return take(self)

    def evaluating(self: Suite, model: Any, stage: str, reference: Any) -> Any:
        found = evaluate(self, model, stage, reference)
        if stage == place:
            send_to_self(signal.SIGTERM)
        return found

    patch.setattr(Trainer, "step", stepping)
    patch.setattr(Suite, "evaluate", evaluating)


PLACES = {"step": 5, "step_6": 6, "after": 9}


BEST = "evaluation.best=retain/rougeL_recall"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Done]:
    """A run that nobody stops."""
    return cache(Command(tmp_path_factory.mktemp("whole")).__call__)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "more"),
    [
        ("step", ()),
        ("step_6", (BEST,)),
        ("after", ()),
        ("after", (BEST,)),
        ("after", ("model/adapter=lora",)),  # merged by then
    ],
)
def test_a_stopped_run_has_lost_no_step(
    place: str,
    more: tuple[str, ...],
    unlearn: Command,
    whole: Callable[..., Done],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where no checkpoints were asked for, and where the saved weights are rounded."""
    words = (*LONGER, *more, "model.save_dtype=bfloat16")
    uncut, folder = whole(*words), unlearn.folder / "cut"
    with monkeypatch.context() as patch:
        stop_at(place, PLACES[place], patch)
        cut = unlearn(*words, run=folder)
    assert (cut.status, cut.summary["status"]) == (143, "stopped")
    (told,) = [line for line in cut.err.splitlines() if "SIGTERM" in line]
    assert f"hydra.run.dir={folder}" in told
    newest = newest_of(folder)
    assert newest is not None and newest.name == f"step_{PLACES[place]}"
    with monkeypatch.context() as patch:
        if place == "after":
            patch.setattr("unlearn.training.trainer.Trainer.step", None)  # none is left to take
        again = unlearn(*words, run=folder)
    assert again.status == 0, again.said
    assert results(again) == results(uncut)
    assert not (folder / BEGUN).parent.exists()


@pytest.mark.slow
def test_no_further_job_of_a_stopped_sweep_runs(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = unlearn.folder / "sweep"
    with monkeypatch.context() as patch:
        stop_at("step", 2, patch)
        cut = unlearn("-m", *QUICK, "seed=0,1", run=folder)
    assert cut.status == 143
    assert f"hydra.sweep.dir={folder}" in cut.err
    assert [path.name[0] for path in folder.glob("*-ngdiff*")] == ["0"]
    assert not (folder / "comparison.csv").exists()


def test_what_a_worker_hands_back_keeps_its_status() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(Interrupted("stopped by SIGUSR1", 138)))
    assert (str(error), error.exit_status) == ("stopped by SIGUSR1", 138)


# Two starts in one folder.


@pytest.fixture
def begun(unlearn: Command) -> Callable[[str], Done]:
    """A complete run of a seed, in a folder of that name."""
    return lambda seed: unlearn(*QUICK, f"seed={seed}", run=unlearn.folder / seed)


@pytest.mark.slow
def test_a_folder_in_use_is_left_byte_by_byte_as_it_is(tmp_path: Path) -> None:
    """Not even a log, Hydra's record or `multirun.yaml` is written by the second."""
    place = {"UNLEARN_CACHE": str(tmp_path / "cache")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARN_CACHE", place["UNLEARN_CACHE"])
        folder = tmp_path / "mine"
        (folder / ".hydra").mkdir(parents=True)
        (folder / "unlearn.log").write_text("of the first\n")
        with claimed(folder, wait=False):
            before = files_in(folder)
            for option, more in (("hydra.run.dir", ()), ("hydra.sweep.dir", ("-m",))):
                words = (*more, *QUICK, f"{option}={folder}")
                done = Forked(*words, cwd=tmp_path, said=tmp_path / "said", **place).finish(folder)
                assert done.status == 2
                assert f"{option}: another process is running in" in done.err
            assert files_in(folder) == before


@pytest.mark.slow
def test_starts_in_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    words = ("-m", *QUICK, "training.steps=1")
    both = [
        Forked(*words, f"seed={seed}", cwd=tmp_path, said=tmp_path / str(seed))
        for seed in (1, 2, 3)
    ]
    assert [one.finish(tmp_path).status for one in both] == [0, 0, 0]
    sweeps = list(tmp_path.glob("runs/*/*-sweep"))
    assert len(sweeps) == 3
    seeds = [json.loads(p.read_text())["seed"] for p in tmp_path.glob("runs/*/*/*/summary.json")]
    assert sorted(seeds) == [1, 2, 3]


def test_a_default_name_that_is_taken_gets_a_number(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearn.composition.register.start", lambda: "day/time")
    from unlearn.composition.register import register

    register()
    try:
        for _ in range(3):
            assert unlearn_default(unlearn).status == 2
    finally:
        monkeypatch.undo()
        register()
    found = sorted(path.name for path in (unlearn.folder / "runs" / "day").iterdir())
    end = "ngdiff-minitofu-tiny"
    assert found == [f"time-2-{end}", f"time-3-{end}", f"time-{end}"]


def unlearn_default(unlearn: Command) -> Done:
    """A run that is refused at its beginning, in the folder that it chooses itself."""
    return unlearn(*QUICK, "training.batch_size=-1", run=Path("runs/${start:}-${run_name:}"))


@pytest.mark.slow
def test_a_record_that_was_written_over_is_not_believed(begun: Callable[[str], Done]) -> None:
    """As two sweeps in one folder left it: `.hydra` of one seed, the summary of another."""
    one, other = begun("1"), begun("2")
    assert other_options(read_run(one.folder)) is None
    for name in ("config.yaml", "overrides.yaml"):
        file = one.folder / ".hydra" / name
        file.write_text((other.folder / ".hydra" / name).read_text())
    assert "seed 2" in str(other_options(read_run(one.folder)))
    again = Command(one.folder.parent)(*QUICK, "seed=2", run=one.folder)
    assert again.status == 2
    assert "a run with other options" in again.err

    from unlearn.commands.evaluate import evaluate
    from unlearn.report.comparison import compare
    from unlearn.report.comparison.runs import read_runs

    assert evaluate(one.folder, [], None, None) == 2
    runs, problems = read_runs([one.folder, other.folder])
    assert [run.path for run in runs] == [other.folder]
    assert "left out" in problems[0] and "seed 2" in problems[0]
    assert compare([other.folder]).sections


@pytest.mark.slow
def test_an_option_in_the_record_that_was_changed_is_seen(begun: Callable[[str], Done]) -> None:
    run = begun("1")
    file = run.folder / ".hydra" / "config.yaml"
    text = file.read_text()
    file.write_text(text.replace("name: none", "name: wandb"))  # the tracker changes no number
    assert file.read_text() != text
    assert other_options(read_run(run.folder)) is None
    file.write_text(text.replace("steps: 4", "steps: 5"))
    assert file.read_text() != text
    assert "options_sha256" in str(other_options(read_run(run.folder)))


@pytest.mark.parametrize("text", ["[]", "{", "null", "3"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_summary_that_is_none_does_not_count(text: str, begun: bool, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(text)
    (tmp_path / "checkpoints").mkdir()
    if begun:
        (tmp_path / BEGUN).write_text('{"config": {}}')
    assert progress_of(tmp_path) is (Progress.begun if begun else Progress.new)


@pytest.mark.parametrize("text", ["[]", "{", "{}", '{"config": 3}'])
def test_a_beginning_that_cannot_be_read_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / BEGUN).write_text(text)
    with pytest.raises(ConfigurationError, match=r"beginning is broken \(checkpoints/run\.json"):
        finished_run(tmp_path, {})


def test_a_claim_is_taken_once_and_let_go(tmp_path: Path) -> None:
    claim(tmp_path)
    claim(tmp_path)  # whoever has it may ask again
    release_all()
    with claimed(tmp_path, wait=False):
        pass


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    if (pid := os.fork()) == 0:
        claim(tmp_path)
        (tmp_path / "held").write_text("")
        time.sleep(60)
    until = time.monotonic() + 30
    while not (tmp_path / "held").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    with pytest.raises(ConfigurationError, match="another process is running"):
        claim(tmp_path)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with claimed(tmp_path, wait=False):
        pass


# A stopped run is concluded as it stands.


@pytest.mark.slow
def test_a_stopped_run_is_measured_judged_and_saved_as_it_stands(
    unlearn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    words = (*LONGER, "accept.conditions=[{metric: forget/loss, at_least: 0}]")
    folder = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        stop_at("step", 5, patch)
        assert unlearn(*words, run=folder).status == 143
    checkpoint = newest_of(folder)
    assert checkpoint is not None
    assert checkpoint.name == "step_5"
    kept = AutoModelForCausalLM.from_pretrained(checkpoint).state_dict()

    done = unlearn(*words, "training.conclude=true", run=folder)
    assert done.status == 0, done.said
    assert done.summary["status"] == "completed"
    assert done.summary["training"]["reason"] == "concluded after 5 of 9 steps, as asked for"
    assert done.summary["verdict"]["accepted"] is True
    assert done.summary["cost"]["steps"] == 5
    saved = AutoModelForCausalLM.from_pretrained(folder / "model").state_dict()
    assert all(torch.equal(saved[name], tensor) for name, tensor in kept.items())
    assert "complete already" in unlearn(*words, run=folder).said


@pytest.mark.slow
def test_where_nothing_was_kept_there_is_nothing_to_conclude(unlearn: Command) -> None:
    done = unlearn(*LONGER, "training.conclude=true")
    assert done.status == 2
    assert "holds no state to conclude with" in done.said
