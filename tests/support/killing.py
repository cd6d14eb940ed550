"""Processes that are cut at moments drawn by a seed, and what must hold of what they leave."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from subprocess import Popen
from typing import Any

from safetensors import safe_open

from support.command import Done, events_in, files_in
from support.forked import Forked
from unlearn.record.checkpoints import newest_of, steps_of
from unlearn.storage.files import entries_below

PROMPT = 20.0
"""Seconds in which a signal must be obeyed; on a quiet machine it is one."""
Process = Forked | Popen[str]


class Kind(Enum):
    """How a process is cut."""

    kill = "SIGKILL"
    term = "SIGTERM"
    interrupt = "SIGINT"
    twice = "SIGINT twice"

    @property
    def statuses(self) -> tuple[int, ...]:
        """What it may end with: our status, or the system's where it does not listen yet."""
        if self is Kind.kill:
            return (-signal.SIGKILL,)
        return (143, -signal.SIGTERM) if self is Kind.term else (130, -signal.SIGINT)


KINDS = tuple(Kind)
tally: Counter[str] = Counter()
"""Cuts that were made, by what was cut and how; said at the end of the tests."""


def results(done: Done) -> dict[str, Any]:
    """What must not depend on whether a run was cut: all but times."""
    summary = done.summary
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in done.lines]
    tables = {
        name: content
        for name, content in files_in(done.folder / "evaluations").items()
        if not name.endswith(".parquet")
    }
    return {
        "weights": done.weights,
        "metrics": summary["metrics"],
        "verdict": summary["verdict"],
        "training": summary["training"],
        "rounded": summary["model"]["rounded"],
        "steps": (summary["cost"]["steps"], summary["cost"]["tokens"]),
        "lines": lines,
        "tables": tables,
        "names": sorted(path.name for path in done.folder.iterdir()),
    }


def status(process: Process) -> int | None:
    return process.status if isinstance(process, Forked) else process.poll()


def cut_after(
    events: int, process: Process, watched: Sequence[Path], kind: Kind, group: bool = False
) -> bool:
    """Cut a process once so much more has happened in the folders than when it began.

    Returns whether it was cut; a command that came to its end was not.
    """
    until = events_in(*watched) + events
    while status(process) is None:
        if events_in(*watched) >= until:
            return cut(process, kind, group)
        time.sleep(0.01)  # how finely the moment is chosen; what must hold does not depend on it
    assert status(process) == 0
    return False


def cut(process: Process, kind: Kind, group: bool = False) -> bool:
    """Cut a process now; in a `group`, with everything that it has started, as SLURM does.

    Returns whether it was cut, and not at its end before.
    """
    if kind is Kind.kill:
        kill(process)
    else:
        number = signal.SIGTERM if kind is Kind.term else signal.SIGINT
        send(process, number, group)
        if kind is Kind.twice:
            send(process, number, group)
        wait(process)
    if isinstance(process, Popen):
        process.communicate()  # closes its pipes
    assert status(process) in (0, *kind.statuses), f"{kind}: {status(process)}"
    return status(process) != 0


def send(process: Process, number: int, group: bool = False) -> None:
    pid = process.pid
    try:
        os.killpg(pid, number) if group else os.kill(pid, number)
    except ProcessLookupError:
        assert status(process) is not None


def wait(process: Process) -> None:
    """Wait for the end of a process that was told to; AssertionError where it takes too long."""
    until = time.monotonic() + PROMPT
    while status(process) is None:
        if time.monotonic() > until:
            kill(process)
            raise AssertionError(f"not ended {PROMPT:.0f} s after the signal")
        time.sleep(0.01)


def kill(process: Process) -> None:
    """Kill it with all that it has started."""
    if isinstance(process, Forked):
        process.kill()
        return
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def require_whole(*folders: Path) -> None:
    """AssertionError where a file under its own name is half of one."""
    for folder in folders:
        for path in entries_below(folder):
            if any(part.startswith(".") for part in path.relative_to(folder).parts):
                continue  # has not its name yet, or is Hydra's
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".jsonl":
                *lines, _ = path.read_text(encoding="utf-8").split("\n")
                for line in lines:  # what follows the last line break is passed over
                    json.loads(line)
            elif path.suffix == ".safetensors":
                with safe_open(path, framework="pt") as file:
                    assert [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118


def require_nothing_left(*folders: Path) -> None:
    """AssertionError where a complete command leaves what a killed one had half-written."""
    left = [path for folder in folders for path in entries_below(folder)]
    assert [p for p in left if p.name.endswith((".tmp", ".unfinished", ".replaced"))] == []


def require_kept(run: Path) -> None:
    """AssertionError where a run that was told to end lost a step."""
    done = Done(0, "", "", run)
    trained = (run / "metrics.jsonl").exists() and done.steps
    if done.summary["status"] == "stopped" and trained:
        assert steps_of(newest_of(run)) == done.steps[-1]["step"]


class Draw(random.Random):
    """The seeded generator of moments and signals."""

    def kind(self) -> Kind:
        return self.choice(KINDS)
