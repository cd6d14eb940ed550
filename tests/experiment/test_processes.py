"""A run of two processes gives one process's numbers, whatever the method and however shared."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from support.command import DESCENT, QUICK, Command, Done, files_in, finish, start
from support.ranks import Together, between_weights, differences, metrics_apart, newest_step

from unlearn.record.checkpoints import newest_of, steps_of

RUN = (
    *(word for word in QUICK if not word.startswith(("training.steps", "training.batch_size"))),
    "model.tiny.layers=2",
    "training.steps=10",
    "training.batch_size=5",
    "training.until=null",
)
"""Ten steps of five rows a task: three for one process, two for the other."""

METHODS = {
    "ngdiff": ("method=ngdiff", *DESCENT),
    "ngdiff_guarded": ("method=ngdiff_guarded", *DESCENT),
    "pcgrad": ("method=pcgrad", *DESCENT),
    "npo": ("method=npo", *DESCENT),
    "kl": ("method=ngdiff", "method/retain=kl", *DESCENT),
    "rmu": ("method=rmu", "method.forget.layer=1", *DESCENT),
    "gen": ("method=ngdiff", "scheduler=gen", "optimizer=adamw"),
    "gen, npo": ("method=ngdiff", "method/forget=npo", "scheduler=gen"),
    "micro-batches": ("method=ngdiff", "training.micro_batch_size=2", *DESCENT),
    "one row for two": ("method=graddiff", "training.batch_size=1", *DESCENT),
    "sam, sago, clipped": (
        "method=graddiff",
        "method/interventions=[sam,sago]",
        "training.clip=0.5",
        *DESCENT,
    ),
}
QUICKLY = ("gen", "micro-batches")
"""Those that are no slow test."""
KINDS = ("ddp", "fsdp")


def cases() -> list[object]:
    return [
        pytest.param(
            name, kind, id=f"{name}-{kind}", marks=[] if name in QUICKLY else [pytest.mark.slow]
        )
        for name in METHODS
        for kind in KINDS
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Done]:
    """The run of one process."""
    place = Command(tmp_path_factory.mktemp("alone"))

    @cache
    def run(name: str) -> Done:
        done = place(*RUN, *METHODS[name])
        assert done.status == 0, done.said
        return done

    return run


def unlike(one: Done, other: Done, most: float) -> dict[str, float]:
    """The numbers of the steps that differ by more: losses, norms, cosine, weights and rate.

    The other ones are differences of these, of which rounding may be all that is left.
    """
    own = re.compile(r"train/(\w+_(loss|norm)|cosine|weight_\w+|lr|lr_star|lr_reason)|epoch")
    found = differences(one, other)
    assert sum(bool(own.fullmatch(name)) for name in found) >= 8
    return {name: apart for name, apart in found.items() if own.fullmatch(name) and apart > most}


@pytest.mark.parametrize(("name", "kind"), cases())
def test_two_processes_give_the_numbers_of_one(
    alone: Callable[[str], Done], tmp_path: Path, name: str, kind: str
) -> None:
    expected = alone(name)
    words = (*RUN, *METHODS[name], f"training.sharding={kind}")
    done, other = Together(2, *words, cwd=tmp_path).finish()
    assert (done.status, other.status) == (0, 0), done.said + other.said
    assert other.said == ""  # the terminal is rank 0's
    assert len(done.steps) == 10
    assert unlike(expected, done, 1e-5) == {}
    assert between_weights(expected, done) < 1e-5
    assert {k: v for k, v in metrics_apart(expected, done).items() if v > 1e-4} == {}
    assert done.summary["cost"]["tokens"] == expected.summary["cost"]["tokens"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_of_two_processes_gives_the_tables_of_one(
    unlearn: Command, tmp_path: Path, kind: str
) -> None:
    """Byte for byte: likelihoods, hits and answers, of which some are known from the scores."""
    words = (*RUN, "method=none", "evaluation.rows=8", "evaluation.max_new_tokens=12")
    expected = unlearn(*words)
    assert expected.status == 0, expected.said
    shared = (*words, f"training.sharding={kind}")
    cache = {"UNLEARN_CACHE": str(tmp_path / "cache")}
    done, _ = Together(2, *shared, cwd=tmp_path / "two", **cache).finish()
    assert done.status == 0, done.said
    assert "its tables are in the cache" not in done.log
    tables = files_in(expected.folder / "evaluations")
    assert len(tables) >= 3
    assert files_in(done.folder / "evaluations") == tables


LONG = (
    *(word for word in RUN if not word.startswith("training.steps")),
    "method=ngdiff",
    "scheduler=gen",
    "optimizer=adamw",
    "training.steps=20",
    "training.checkpoint_every=4",
)
GO_ON = "another process of this run has ended"


def wait_for(step: int, run: Together) -> None:
    """Wait until a run has taken so many steps."""
    until = time.monotonic() + 120
    while newest_step(run.folder) < step:
        assert all(one.status is None for one in run.each), "ended too early"
        assert time.monotonic() < until, "too slow"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_ends_all_and_the_run_goes_on(
    unlearn: Command, tmp_path: Path, kind: str
) -> None:
    """With two processes to the same bits as if nothing had happened, with one to rounding."""
    words = (*LONG, f"training.sharding={kind}")
    whole, _ = Together(2, *words, cwd=tmp_path / "whole").finish()
    cut = Together(2, *words, cwd=tmp_path / "cut")
    wait_for(5, cut)
    cut.each[1].kill()
    first, second = cut.finish()
    assert (first.status, second.status) == (1, -9)
    assert first.said.count(GO_ON) == 1
    assert first.said.count("ERROR") == 1
    assert f"hydra.run.dir={cut.folder}" in first.said
    assert first.summary["status"] == "failed"
    shutil.copytree(tmp_path / "cut", tmp_path / "copy")

    again, _ = Together(2, *words, cwd=tmp_path / "cut").finish()
    assert again.status == 0, again.said
    assert "goes on from" in again.log
    assert again.weights == whole.weights
    assert max(differences(whole, again).values()) == 0

    alone = unlearn(*words, run=tmp_path / "copy" / "run")
    assert alone.status == 0, alone.said
    assert "goes on from" in alone.log
    assert between_weights(whole, alone) < 1e-4
    assert unlike(whole, alone, 1e-3) == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_to_one_process_stops_all_after_the_same_step(tmp_path: Path, kind: str) -> None:
    words = (*LONG, f"training.sharding={kind}", "training.checkpoint_every=0")
    run = Together(2, *words, cwd=tmp_path)
    wait_for(5, run)
    os.kill(run.each[1].pid, signal.SIGTERM)
    first, second = run.finish()
    assert (first.status, second.status) == (143, 143)
    assert first.said.count("stopped by SIGTERM; to go on, give the same command") == 1
    assert second.said == ""
    assert steps_of(newest_of(run.folder)) == first.steps[-1]["step"] >= 5


@pytest.mark.slow
def test_a_run_of_one_goes_on_with_two(unlearn: Command, tmp_path: Path) -> None:
    words = (*RUN, *METHODS["gen"], "training.checkpoint_every=4", "training.keep_checkpoints=true")
    done = unlearn(*words, run=tmp_path / "run")
    assert done.status == 0, done.said
    for left in ("summary.json", "model"):
        path = done.folder / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert steps_of(newest_of(done.folder)) == 10
    words = (*words, "training.sharding=fsdp")
    again, _ = Together(2, *words, cwd=tmp_path).finish()
    assert again.status == 0, again.said
    assert "goes on from" in again.log
    assert between_weights(done, again) < 1e-7


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_ends_with_one_message_where_a_process_is_killed(
    tmp_path: Path, rank: int
) -> None:
    """The launcher's own report stands below it."""
    folder = tmp_path / "run"
    words = ("--nproc-per-node=2", "--standalone", "-m", "unlearn", *LONG)
    launcher = "torch.distributed.run"
    launched = start(*words, f"hydra.run.dir={folder}", cwd=tmp_path, module=launcher)
    while newest_step(folder) < 5:
        assert launched.poll() is None, launched.communicate()
        time.sleep(0.05)
    children = Path(f"/proc/{launched.pid}/task/{launched.pid}/children").read_text().split()
    ranks = {environment_of(pid)["RANK"]: pid for pid in children if "RANK" in environment_of(pid)}
    os.kill(int(ranks[str(rank)]), signal.SIGKILL)
    done = finish(launched, folder)
    assert done.status != 0
    ours = [line for line in done.said.splitlines() if re.match(r"[\d:]+ ERROR|unlearn: ", line)]
    assert len(ours) == 1, done.said
    assert not any(pid_lives(pid) for pid in children)


def environment_of(pid: str) -> dict[str, str]:
    """The variables that a process was started with."""
    text = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="replace")
    return dict(part.split("=", 1) for part in text.split("\0") if "=" in part)


def pid_lives(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["training.sharding=none"], "training.sharding: none, but torchrun started 2 processes"),
        (
            ["training.sharding=fsdp", "method/interventions=[saliency_mask]"],
            "method.interventions.saliency_mask: needs the whole model on one device",
        ),
        (["training.sharding=fsdp", "attack=[relearning]"], "attack.relearning: needs the whole"),
        (["-m", "seed=0,1"], "torchrun: 2 processes are one run, and -m is a sweep of many"),
    ],
)
def test_what_cannot_be_shared_is_refused_once_and_before_a_model_loads(
    tmp_path: Path, words: list[str], said: str
) -> None:
    done, other = Together(2, *words, *RUN, cwd=tmp_path).finish()
    assert (done.status, other.status) == (2, 2)
    assert done.said.count(said) == 1
    assert other.said == ""
    assert "target:" not in done.said
