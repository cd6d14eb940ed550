"""Limits on what a chat template may take to be rendered: time, memory, letters.

A template is a program of somebody else's. Jinja's sandbox keeps it from files and from Python, not
from a loop without end or a text of ten gigabytes. So it is rendered first on trial, in a process
of its own that the system ends (:mod:`unlearn.data.trial`); what it renders of rows afterwards, in
this process, is stopped between two steps of Python once it takes too long.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

SECONDS = 3
"""Of computing, for a conversation; usual templates take a thousandth of one."""
WALL_SECONDS = 15
"""On the clock, for the trial and for a conversation: a busy machine is no fault of a template."""
MEMORY = 2**30
"""Bytes of the process of the trial."""
LETTERS = 2**24
"""Of a rendered conversation."""
TRIAL = Path(__file__).with_name("trial.py")
TOO_LONG = "it takes longer than a few seconds"


class TooMuch(Exception):
    """A template that takes more than it may."""


def tried(
    template: str, conversations: Sequence[tuple[Any, bool]], variables: Mapping[str, Any]
) -> None:
    """Raise TooMuch where a template takes too much to render these conversations.

    Each is turns, and whether the assistant's next turn is opened. Whatever else is wrong with the
    template is not looked for here: transformers renders it afterwards, and says so.
    """
    limits = {"seconds": SECONDS, "memory": MEMORY, "letters": LETTERS}
    told = {"template": template, "conversations": conversations, "variables": variables, **limits}
    problem = _trial(json.dumps(told, default=str))
    if problem:
        raise TooMuch(problem)


@lru_cache(maxsize=64)
def _trial(told: str) -> str | None:
    """Render in a process of its own; returns what was too much, None where nothing was."""
    command = [sys.executable, "-P", str(TRIAL)]
    try:
        done = subprocess.run(
            command, input=told, capture_output=True, text=True, timeout=WALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return TOO_LONG
    except OSError:  # no further process may start here: the limit on time below remains
        return None
    if done.returncode < 0:  # ended by the system, of time or of a stack without end
        return TOO_LONG
    return done.stdout.strip() or None


@contextmanager
def limited_time() -> Iterator[None]:
    """Raise TooMuch within, in whatever thread this is, once :data:`WALL_SECONDS` are over."""
    _WATCH.begin(WALL_SECONDS)
    try:
        yield
    finally:
        _WATCH.end()


class _Watch:
    """One thread that looks, twice a second, for threads that are over their time."""

    def __init__(self) -> None:
        self._until: dict[int, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, seconds: float) -> None:
        with self._lock:
            self._until[threading.get_ident()] = time.monotonic() + seconds
            if self._thread is None or not self._thread.is_alive():  # a fork has no threads
                self._thread = threading.Thread(target=self._look, daemon=True)
                self._thread.start()

    def end(self) -> None:
        with self._lock:
            self._until.pop(threading.get_ident(), None)

    def _look(self) -> None:
        while True:
            time.sleep(0.5)
            now = time.monotonic()
            with self._lock:
                if not self._until:
                    self._thread = None
                    return
                for thread in [one for one, end in self._until.items() if end < now]:
                    del self._until[thread]
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(thread), ctypes.py_object(TooMuch)
                    )


_WATCH = _Watch()
