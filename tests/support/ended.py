"""A command that must end by itself, in time, in one line, and leave all else as it was."""

from __future__ import annotations

import time
from pathlib import Path

from support.command import Done, files_in
from support.forked import Forked

SECONDS = 20.0
_started: list[int | None] = []


def _wait_for_the_server(cwd: Path) -> None:
    """Let the server of processes import its libraries, which is no time of a command's."""
    if not _started:
        _started.append(Forked("--version", cwd=cwd, said=cwd / "said").finish(cwd).status)


def ended(*words: str, cwd: Path, seconds: float = SECONDS) -> Done:
    """Run `unlearn` in a process and a cache of its own; it is killed after so many seconds."""
    _wait_for_the_server(cwd)
    begun = time.monotonic()
    cache = str(cwd / "cache")
    process = Forked(*words, "hydra.run.dir=run", cwd=cwd, said=cwd / "said", UNLEARN_CACHE=cache)
    while process.status is None:
        if time.monotonic() - begun > seconds:
            process.kill()
            raise AssertionError(f"it hung for more than {seconds} s: {words}")
        time.sleep(0.02)
    return process.finish(cwd / "run")


def require_one_line(done: Done, status: int = 2) -> None:
    """Assert a refusal in one line: no traceback, nobody else's words, nothing measured."""
    assert done.status == status, done.said
    assert "Traceback" not in done.said + done.log
    assert "panicked" not in done.said and "LOAD REPORT" not in done.said
    errors = [line for line in done.said.splitlines() if " ERROR " in line or "unlearn: " in line]
    assert len(errors) == 1, done.said
    assert not (done.folder / "evaluations").exists()
    assert not (done.folder / "model").exists()


def beside(folder: Path) -> dict[str, bytes]:
    """What lies in a folder but for the run, its cache and what it said."""
    found = files_in(folder)
    return {
        name: content
        for name, content in found.items()
        if name.split("/")[0] not in ("run", "cache", "said.out", "said.err")
    }
