"""The command in processes of their own that need no ten seconds of imports each.

One server imports the libraries once (preloaded.py); every process is forked from it, with a
folder, an environment and a process group of its own, and can be killed like any other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from support.command import Done

TESTS = Path(__file__).parents[1]


def stop() -> None:
    """End the server, if one was started, and wait for it; its time counts as the tests' then."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.preloaded"])
    with pytest.MonkeyPatch.context() as patch:  # the server takes its path from here alone
        patch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)
        forkserver.ensure_running()
    return context


def forked(task: Callable[..., None], *told: Any) -> Any:
    """Return a started process that does a task."""
    process = _server().Process(target=task, args=told)
    process.start()
    return process


def settle(cwd: str, environment: dict[str, str]) -> None:
    """Give a new process a group, a folder and an environment of its own."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))


def speak_into(said: str) -> None:
    """Let what this process says go into two files from now on."""
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(f"{said}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, number)
        os.close(file)


def _execute(
    command: str, words: tuple[str, ...], cwd: str, environment: dict[str, str], said: str
) -> None:
    """Be `unlearn` in a process group of its own, which writes what it says into two files."""
    settle(cwd, environment)
    speak_into(said)
    sys.argv = ["unlearn", *words]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run behind `&`
    import_module(command).main()


class Forked:
    """`unlearn` with these words, or another command of ours, started."""

    def __init__(
        self,
        *words: str,
        cwd: Path,
        said: Path,
        command: str = "unlearn.commands.run",
        **variables: str,
    ) -> None:
        self._said = said
        told: tuple[Any, ...] = (command, words, str(cwd), {**os.environ, **variables}, str(said))
        self._process = forked(_execute, *told)

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.exitcode

    @property
    def pid(self) -> int:
        """Its process, and the group of all that it starts."""
        assert self._process.pid is not None
        return self._process.pid

    def kill(self) -> None:
        """Kill it with everything that it has started."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.join()

    def finish(self, folder: Path) -> Done:
        """Wait for its end; `folder` is that of its run."""
        self._process.join()
        out, err = (
            Path(f"{self._said}.{name}").read_text(encoding="utf-8") for name in ("out", "err")
        )
        assert self.status is not None
        return Done(self.status, out, err, folder)
