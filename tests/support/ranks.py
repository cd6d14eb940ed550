"""A run of several processes on the CPU, started as torchrun does it, and how it is compared."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.distributed import TCPStore

from support.command import Done
from support.forked import Forked


class Together:
    """`unlearn` in processes that share a run; their words, and a folder for what they say."""

    def __init__(self, processes: int, *words: str, cwd: Path, **variables: str) -> None:
        cwd.mkdir(parents=True, exist_ok=True)
        # As torchrun's agent does, this process holds the store in which they meet.
        self.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        shared = {
            "WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        }
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
    ours, theirs = (load_file(done.folder / "model" / "model.safetensors") for done in (one, other))
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
