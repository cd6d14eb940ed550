"""Runs of several processes on the CPU, started as torchrun does it, and how they are compared."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import omegaconf.omegaconf
import torch
from safetensors.torch import load_file
from torch import distributed
from torch.distributed import TCPStore

from support.command import QUICK_YAML, Command, Done
from support.forked import Forked, forked, settle, speak_into
from support.summarised import summarise_once
from unlearn.evaluation import suites


def meeting_place(processes: int) -> tuple[TCPStore, dict[str, str]]:
    """A store in which processes meet, held by this one as by torchrun's agent, and its name."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    return store, {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


class Together:
    """`unlearn` in processes that share a run; their words, and a folder for what they say."""

    def __init__(self, processes: int, *words: str, cwd: Path, **variables: str) -> None:
        cwd.mkdir(parents=True, exist_ok=True)
        self.store, shared = meeting_place(processes)
        self.folder = cwd / "run"
        self.each = [
            Forked(
                *words,
                f"hydra.run.dir={self.folder}",
                cwd=cwd,
                said=cwd / f"said{rank}",
                **{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank), **variables},
            )
            for rank in range(processes)
        ]

    def finish(self) -> list[Done]:
        """Wait for the end of all; returns what each left, rank 0 first.

        One that goes on long after another has failed is killed, as torchrun does.
        """
        failed = None
        while any(one.status is None for one in self.each):
            time.sleep(0.05)
            if failed is None and any(one.status for one in self.each):
                failed = time.monotonic()
            if failed is not None and time.monotonic() - failed > 20:
                for one in self.each:
                    if one.status is None:
                        one.kill()
        return [one.finish(self.folder) for one in self.each]


def in_ranks(processes: int, task: Callable[..., None], folder: Path, *told: Any) -> list[int]:
    """Return how processes ended that do a task, told of the folder they are in, and of the rest.

    Those that go on long after another has failed are killed.
    """
    _store, shared = meeting_place(processes)
    each = [
        forked(
            _in_rank,
            {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            task,
            folder,
            *told,
        )
        for rank in range(processes)
    ]
    failed = None
    while any(one.exitcode is None for one in each):
        time.sleep(0.02)
        if failed is None and any(one.exitcode for one in each):
            failed = time.monotonic()
        if failed is not None and time.monotonic() - failed > 10:
            for one in each:
                one.kill()
    return [one.exitcode for one in each]


def _in_rank(
    environment: dict[str, str], task: Callable[..., None], folder: Path, *told: Any
) -> None:
    settle(str(folder), environment)
    torch.set_num_threads(1)
    task(folder, *told)


Place = tuple[Path, tuple[str, ...], dict[str, str]]
"""The folder of a run, its words, and the variables that are its own."""


def _in_turn(rank: int, environment: dict[str, str], places: list[Place]) -> None:
    """Be one process of every run, one after the other; says of each how it ended."""
    settle(str(places[0][0].parent), environment)
    omegaconf.omegaconf.yaml = QUICK_YAML  # type: ignore[attr-defined]
    suites.summarise = summarise_once  # type: ignore[assignment]
    torch.set_num_threads(1)
    for folder, words, variables in places:
        said = f"{folder}-said{rank}"
        os.environ.update(variables)
        speak_into(said)
        done = Command(folder.parent)(*words, run=folder)
        if distributed.is_initialized():  # a run that was refused does not wait for the others
            distributed.destroy_process_group()
        sys.__stdout__.flush()
        sys.__stderr__.flush()
        late = [Path(f"{said}.{name}").read_text(encoding="utf-8") for name in ("out", "err")]
        ended = [done.status, done.out + late[0], done.err + late[1]]
        Path(f"{said}.json").write_text(json.dumps(ended), encoding="utf-8")
        if done.status == 1:  # the others may wait for this one now
            os._exit(1)


def in_turn(
    processes: int,
    runs: Mapping[str, tuple[str, ...]],
    cwd: Path,
    own_cache: Collection[str] = (),
    prepared: Collection[str] = (),
) -> dict[str, list[Done]]:
    """Return what each process left of several runs, which the same ones do one after the other.

    A first run costs seconds of imports, each further one a second. Those of the names `own_cache`
    begin with an empty one, those of `prepared` with one that holds the prepared models alone.
    """
    stores, places = [], []
    for number, (name, words) in enumerate(runs.items()):
        store, variables = meeting_place(processes)
        stores.append(store)
        shared, own = os.environ["UNLEARN_CACHE"], cwd / f"cache{number}"
        separate = name in (*own_cache, *prepared)
        variables["UNLEARN_CACHE"] = str(own) if separate else shared
        if name in prepared:
            shutil.copytree(Path(shared) / "prepared", own / "prepared")
        places.append((cwd / f"run{number}", words, variables))
    environments = [
        {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)
    ]
    each = [
        forked(_in_turn, rank, environment, places) for rank, environment in enumerate(environments)
    ]
    while any(one.exitcode is None for one in each):
        time.sleep(0.05)
        if any(one.exitcode for one in each):
            for one in each:
                one.kill()
    found = {}
    for name, (folder, _, _) in zip(runs, places, strict=True):
        ended = [Path(f"{folder}-said{rank}.json") for rank in range(processes)]
        found[name] = [
            Done(*json.loads(path.read_text(encoding="utf-8")), folder)
            if path.exists()
            else Done(-9, "", "never ended", folder)
            for path in ended
        ]
    return found


def differences(one: Done, other: Done) -> dict[str, float]:
    """The largest relative difference of every number of the training lines, by its name."""
    assert [line["step"] for line in one.steps] == [line["step"] for line in other.steps]
    worst: dict[str, float] = {}
    for ours, theirs in zip(one.steps, other.steps, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"seconds"}:
            worst[name] = max(worst.get(name, 0.0), difference(ours[name], theirs[name]))
    return worst


def difference(ours: Any, theirs: Any) -> float:
    """|a − b| / |a|; infinite where one is no number, or another word."""
    if ours == theirs:
        return 0.0
    numbers = isinstance(ours, (int, float)) and isinstance(theirs, (int, float))
    return abs(ours - theirs) / max(abs(ours), 1e-30) if numbers else float("inf")


def between_weights(one: Done, other: Done) -> float:
    """‖a − b‖ / ‖a‖ over all weights of the two unlearned models."""
    return between(*(done.folder / "model" for done in (one, other)))


def between(one: Path, other: Path) -> float:
    """The same of two saved models."""
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    a, b = (torch.cat([w[name].double().flatten() for name in ours]) for w in (ours, theirs))
    return ((a - b).norm() / a.norm()).item()


def metrics_apart(one: Done, other: Done) -> dict[str, float]:
    """The relative difference of every metric of every stage, where there is one."""
    found = {}
    for stage, metrics in one.summary["metrics"].items():
        for name, value in (metrics or {}).items():
            apart = difference(value, other.summary["metrics"][stage][name])
            if apart:
                found[f"{stage}: {name}"] = apart
    return found


def newest_step(folder: Path) -> int:
    """The step of the newest line of a record that is being written; 0 before the first."""
    record = folder / "metrics.jsonl"
    lines = record.read_text(encoding="utf-8").split("\n")[:-1] if record.exists() else []
    return max((json.loads(line)["step"] for line in lines), default=0)
