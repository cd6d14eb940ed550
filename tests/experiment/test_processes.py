"""A run of two processes gives one process's numbers, whatever the method and however shared."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.command import DESCENT, QUICK, Command, Done, files_in, finish, start
from support.forked import Forked
from support.ranks import (
    Together,
    between,
    between_weights,
    differences,
    in_turn,
    metrics_apart,
    newest_step,
)

from unlearn.models.prepared import RECORD
from unlearn.record.checkpoints import newest_of, steps_of
from unlearn.storage.sealed import damage_of

RUN = (
    *(word for word in QUICK if not word.startswith(("training.steps", "training.batch_size"))),
    "model.tiny.layers=2",
    "training.steps=6",
    "training.batch_size=5",
    "training.until=null",
)
"""Six steps of five rows a task: three for one process, two for the other."""
LORA = ("model/adapter=lora", "model.adapter.rank=2", "model.adapter.save=true")
Ended = list[Done]
"""What each process left, rank 0 first."""

METHODS = {
    "guarded": ("method=ngdiff_guarded", "reference=train", *DESCENT),
    "pcgrad": ("method=pcgrad", *DESCENT),
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
    "gru, jensun, signum": (
        *("method=jensun", "method/interventions=[gru]", "optimizer=signum"),
        *("scheduler=constant", "optimizer.lr=1e-3"),
    ),
    "lora": ("method=ngdiff", "method/retain=kl", *LORA, "scheduler=gen", "optimizer=adamw"),
    "lora, rmu": ("method=rmu", "method.forget.layer=1", *LORA, *DESCENT),
}
QUICKLY = ("gen", "micro-batches", "lora")
"""Those that are no slow test."""
SLOWLY = METHODS.keys() - set(QUICKLY)
KINDS = ("ddp", "fsdp")
WHOLE = ("pcgrad", "kl", "rmu", "gen, npo", "lora, rmu")
"""Methods whose own part reads weights or layers, which `ddp` leaves whole: with `fsdp` alone. What
they share is summed in both kinds as the others' is."""

REFUSED = {
    "none": (
        ("training.sharding=none",),
        "training.sharding: none, but torchrun started 2 processes",
    ),
    "saliency_mask": (
        ("training.sharding=fsdp", "method/interventions=[saliency_mask]"),
        "method.interventions.saliency_mask: needs the whole model on one device",
    ),
    "relearning": (
        ("training.sharding=fsdp", "attack=[relearning]"),
        "attack.relearning: needs the whole",
    ),
    "a sweep": (("-m", "seed=0,1"), "torchrun: 2 processes are one run, and -m is a sweep of many"),
}
TAUGHT = (
    *RUN,
    "method=none",
    "reference=train",
    "model.fine_tuning.epochs=3",
    "model.fine_tuning.batch_size=9",
)
"""Target and reference, of 104 rows and of 96: the last batch of a pass has fewer than nine."""
TABLES = (*RUN, "method=none", "evaluation.rows=8", "evaluation.max_new_tokens=12")

LONG = (
    *(word for word in RUN if not word.startswith("training.steps")),
    "method=ngdiff",
    "scheduler=gen",
    "optimizer=adamw",
    "training.steps=20",
    "training.checkpoint_every=4",
    "training.sharding=fsdp",
)
Run = Callable[[str], Done]


def cases() -> list[object]:
    return [
        pytest.param(
            name, kind, id=f"{name}-{kind}", marks=[] if name in QUICKLY else [pytest.mark.slow]
        )
        for name in METHODS
        for kind in kinds_of(name)
    ]


def kinds_of(name: str) -> tuple[str, ...]:
    """The kinds in which a method is shared here."""
    return KINDS[1:] if name in WHOLE else KINDS


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of one process."""
    place = Command(tmp_path_factory.mktemp("alone"))

    @cache
    def run(name: str) -> Done:
        done = place(*RUN, *METHODS[name])
        assert done.status == 0, done.said
        return done

    return run


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, alone: Run) -> Callable[[str], Ended]:
    """The run of two processes: the same two do all that is quick, and two others the rest."""

    @cache
    def done(quick: bool) -> dict[str, Ended]:
        names = [name for name in METHODS if (name in QUICKLY) is quick]
        for name in names:
            alone(name)  # which leaves target and tables in the cache
        runs = {
            f"{name}-{kind}": (*RUN, *METHODS[name], f"training.sharding={kind}")
            for name in names
            for kind in kinds_of(name)
        }
        if quick:
            runs |= {kind: (*TABLES, f"training.sharding={kind}") for kind in KINDS}
            taught = {f"{kind} taught": kind for kind in KINDS}
            runs |= {name: (*TAUGHT, f"training.sharding={k}") for name, k in taught.items()}
            runs |= {name: (*words, *RUN) for name, (words, _) in REFUSED.items()}
        else:
            runs["whole"] = LONG
        place = tmp_path_factory.mktemp("together")
        return in_turn(2, runs, place, own_cache=[f"{k} taught" for k in KINDS], prepared=KINDS)

    return lambda name: done(name != "whole" and name.rpartition("-")[0] not in SLOWLY)[name]


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
    alone: Run, together: Callable[[str], Ended], name: str, kind: str
) -> None:
    expected, (done, other) = alone(name), together(f"{name}-{kind}")
    assert (done.status, other.status) == (0, 0), done.said + other.said
    assert "reads the padding" not in done.said
    assert other.said == ""  # the terminal is rank 0's
    assert len(done.steps) == 6
    assert unlike(expected, done, 1e-5) == {}
    assert between_weights(expected, done) < 1e-5
    # Ratios of probabilities of whole answers, e to the sum of their losses, are the most apart.
    assert {k: v for k, v in metrics_apart(expected, done).items() if v > 5e-4} == {}
    assert done.summary["cost"]["tokens"] == expected.summary["cost"]["tokens"]
    if "lora" in name:
        ours, theirs = (
            one.folder / "model/adapter/adapter_model.safetensors" for one in (done, expected)
        )
        for key, weight in load_file(theirs).items():
            torch.testing.assert_close(load_file(ours)[key], weight, rtol=1e-4, atol=1e-6)


def test_an_evaluation_of_two_processes_gives_the_tables_of_one(
    unlearn: Command, together: Callable[[str], Ended]
) -> None:
    """Byte for byte: likelihoods, hits and answers, of which some are known from the scores."""
    expected = unlearn(*TABLES)
    assert expected.status == 0, expected.said
    tables = files_in(expected.folder / "evaluations")
    assert len(tables) >= 3
    for done in (together(kind)[0] for kind in KINDS):
        assert done.status == 0, done.said
        assert "its tables are in the cache" not in done.log
        assert files_in(done.folder / "evaluations") == tables


@pytest.mark.parametrize("kind", KINDS)
def test_processes_that_teach_together_leave_the_models_of_one(
    unlearn: Command, together: Callable[[str], Ended], kind: str
) -> None:
    expected, (done, other) = unlearn(*TAUGHT), together(f"{kind} taught")
    assert expected.status == 0, expected.said
    assert (done.status, other.status) == (0, 0), done.said + other.said
    assert other.said == ""
    for role in ("target", "reference"):
        ours, theirs = (Path(d.summary["model"][role]["path"]) for d in (done, expected))
        assert ours != theirs
        assert ours.name == theirs.name
        assert damage_of(ours) is None
        assert between(theirs, ours) < 1e-5
        said = {json.loads((path / RECORD).read_text())["accuracy"] for path in (ours, theirs)}
        assert len(said) == 1
        assert f"{role}: predicts {100 * said.pop():.1f} % of its answer tokens" in done.log
    assert {k: v for k, v in metrics_apart(expected, done).items() if v > 5e-4} == {}


def test_teaching_that_breaks_down_ends_all_with_one_message(
    tmp_path: Path, own_cache: Path
) -> None:
    done, other = Together(2, *TAUGHT, "model.fine_tuning.lr=1e9", cwd=tmp_path).finish()
    assert (done.status, other.status) == (1, 1), done.said + other.said
    assert done.said.count("learning the target: the gradient is not finite") == 1
    assert other.said == ""


def test_what_cannot_be_shared_is_refused_once_and_before_a_model_loads(
    together: Callable[[str], Ended],
) -> None:
    for name, (_, said) in REFUSED.items():
        done, other = together(name)
        assert (done.status, other.status) == (2, 2), done.said
        assert done.said.count(said) == 1, done.said
        assert other.said == ""
        assert "target:" not in done.said


GO_ON = "another process of this run has ended"


def wait_for(step: int, run: Together) -> None:
    """Wait until a run has taken so many steps."""
    until = time.monotonic() + 120
    while newest_step(run.folder) < step:
        assert all(one.status is None for one in run.each), "ended too early"
        assert time.monotonic() < until, "too slow"
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_process_ends_all_and_the_run_goes_on(
    unlearn: Command, tmp_path: Path, together: Callable[[str], Ended]
) -> None:
    """With two processes to the same bits as if nothing had happened, with one to rounding.

    torchrun itself starts the one that is cut; its own report stands below our one message.
    """
    whole, _ = together("whole")
    assert whole.status == 0, whole.said
    folder = tmp_path / "run"
    words = ("--nproc-per-node=2", "--standalone", "-m", "unlearn", *LONG)
    launcher = "torch.distributed.run"
    launched = start(*words, f"hydra.run.dir={folder}", cwd=tmp_path, module=launcher)
    while newest_step(folder) < 5:
        assert launched.poll() is None, launched.communicate()
        time.sleep(0.05)
    children = Path(f"/proc/{launched.pid}/task/{launched.pid}/children").read_text().split()
    ranks = {environment_of(pid)["RANK"]: pid for pid in children if "RANK" in environment_of(pid)}
    os.kill(int(ranks["1"]), signal.SIGKILL)
    cut = finish(launched, folder)
    assert cut.status != 0
    ours = [line for line in cut.said.splitlines() if re.match(r"[\d:]+ ERROR|unlearn: ", line)]
    assert len(ours) == 1, cut.said
    # Rank 0 finds the other gone, or torchrun tells it to end before it has found out.
    assert GO_ON in ours[0] or "stopped by SIGTERM; to go on" in ours[0]
    assert f"hydra.run.dir={folder}" in ours[0]
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    shutil.copytree(folder, tmp_path / "copy")

    again, _ = Together(2, *LONG, cwd=tmp_path).finish()
    assert again.status == 0, again.said
    assert "goes on from" in again.log
    assert again.weights == whole.weights
    assert max(differences(whole, again).values()) == 0

    alone = unlearn(*LONG[:-1], run=tmp_path / "copy")
    assert alone.status == 0, alone.said
    assert "goes on from" in alone.log
    assert between_weights(whole, alone) < 1e-4
    assert unlike(whole, alone, 1e-3) == {}


@pytest.mark.slow
def test_a_run_killed_alone_goes_on_in_two_processes(
    tmp_path: Path, together: Callable[[str], Ended]
) -> None:
    whole, _ = together("whole")
    folder = tmp_path / "run"
    words = (*LONG[:-1], f"hydra.run.dir={folder}")
    alone = Forked(*words, cwd=tmp_path, said=tmp_path / "alone")
    while newest_step(folder) < 5:
        assert alone.status is None, "ended too early"
        time.sleep(0.05)
    alone.kill()
    again, _ = Together(2, *LONG, cwd=tmp_path).finish()
    assert again.status == 0, again.said
    assert "goes on from" in again.log
    assert between_weights(whole, again) < 1e-4
    assert unlike(whole, again, 1e-3) == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_is_killed_as_it_teaches_ends_all(
    tmp_path: Path, own_cache: Path, kind: str
) -> None:
    words = (*TAUGHT, "model.fine_tuning.epochs=100000", f"training.sharding={kind}", "seed=3")
    done, before = killed_as_it_teaches(tmp_path / "once", own_cache, words)
    if done.status == -signal.SIGKILL:  # gloo does not always notice; torchrun ends it then
        done, before = killed_as_it_teaches(tmp_path / "again", own_cache, words)
    assert done.status == 1
    assert done.said.count(GO_ON) == 1, done.said
    after = {path.name for path in (own_cache / "prepared").glob("*")}
    assert after == before, "nothing half-taught is kept"


def killed_as_it_teaches(cwd: Path, cache: Path, words: tuple[str, ...]) -> tuple[Done, set[str]]:
    """What rank 0 leaves when the other is killed, and what was prepared before that."""
    run, begun = Together(2, *words, cwd=cwd), time.monotonic()
    log = run.folder / "unlearn.log"
    try:
        while not (log.exists() and re.search(r"target: learns \d+ rows", log.read_text("utf-8"))):
            assert time.monotonic() < begun + 120, "too slow"
            time.sleep(0.05)
        time.sleep(1)
        before = {path.name for path in (cache / "prepared").glob("*")}
    finally:
        run.each[1].kill()
        done, _ = run.finish()
    return done, before


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_after_the_same_step(tmp_path: Path) -> None:
    words = (*LONG[:-1], "training.sharding=ddp", "training.checkpoint_every=0")
    run = Together(2, *words, cwd=tmp_path)
    wait_for(5, run)
    os.kill(run.each[1].pid, signal.SIGTERM)
    first, second = run.finish()
    assert (first.status, second.status) == (143, 143)
    assert first.said.count("stopped by SIGTERM; to go on, give the same command") == 1
    assert second.said == ""
    assert steps_of(newest_of(run.folder)) == first.steps[-1]["step"] >= 5


def environment_of(pid: str) -> dict[str, str]:
    """The variables that a process was started with."""
    text = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="replace")
    return dict(part.split("=", 1) for part in text.split("\0") if "=" in part)
