"""Being told to end: SIGTERM, SIGUSR1 and Ctrl-C, obeyed where nothing is lost by it.

A signal raises :class:`Stopped` where the process is, but for what is :func:`held`: there it waits
for the end, or for a place that is :func:`obeyed`. The second signal ends the process at once.

- SIGTERM comes from `scancel`, Kubernetes and `kill`; SIGUSR1 from `sbatch --signal=USR1@60`.
- A process that waits for joblib's workers passes it on and lets them come to their end.
- What another program has taken over stays its own: submitit ignores SIGTERM, and hands a job in
  again on SIGUSR2. The latter happens once the run has kept its state.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, cast

Handler = Callable[[int, FrameType | None], Any]
TO_END = (signal.SIGTERM, signal.SIGUSR1)
OF_OTHERS = (signal.SIGUSR1, signal.SIGUSR2)
"""What submitit takes over before a job begins, one of them as SUBMITIT_PREEMPT_SIGNAL says."""
WORKER = "LokyProcess-"
"""What the names of joblib's workers begin with."""


class Stopped(KeyboardInterrupt):
    """A signal was obeyed; like Ctrl-C, it is no error that anybody should catch."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class _Asked:
    """What this process was told, and whether it may obey."""

    number: int | None = None
    """The signal that came; the next one ends the process."""
    told: bool = False
    """Whether it was raised: once is enough."""
    held: int = 0
    working: int = 0
    """Jobs within each other that run here; a worker between two of them has nothing to stop."""
    others: dict[int, Handler] = field(default_factory=dict)
    """Handlers that were there before ours, and are called after them."""


_asked = _Asked()


def exit_status(error: BaseException) -> int:
    """Return the status of a command that a signal ended: 143, 138, or Ctrl-C's 130."""
    number = error.number if isinstance(error, Stopped) else signal.SIGINT
    return 128 + number


def asked() -> int | None:
    """Return the signal that this process was told to end by, if any."""
    return _asked.number


def obey(told: int | None = None) -> None:
    """Raise Stopped where this process was told to end, or else is `told` to.

    Where work goes on although it was raised before, Python passed over it: what a handler raises
    within a `__del__` is printed and forgotten.
    """
    _asked.number = told if _asked.number is None else _asked.number
    if _asked.number is not None:
        _asked.told = True
        raise Stopped(_asked.number)


@contextmanager
def held() -> Iterator[None]:
    """Come to the end of what is inside before a signal is obeyed; Ctrl-C does not wait."""
    _asked.held += 1
    try:
        yield
    finally:
        _asked.held -= 1
    if not _asked.held and not _asked.told:  # cleaning up after it ends what it holds, too
        obey()


@contextmanager
def obeyed() -> Iterator[None]:
    """Obey a signal here and now, also one that came before, within what is held."""
    before, _asked.held = _asked.held, 0
    try:
        obey()
        yield
    finally:
        _asked.held = before


@contextmanager
def working() -> Iterator[None]:
    """Run a job; in a process of another's making, listen from now on."""
    listen()
    _asked.working += 1
    try:
        obey()
        yield
    finally:
        _asked.working -= 1


@contextmanager
def stoppable() -> Iterator[None]:
    """Listen as long as a command runs, and raise at its end what was not obeyed on the way."""
    _asked.number, _asked.told = None, False
    before = listen()
    try:
        yield
        obey()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen() -> dict[int, Any]:
    """Take over the signals that nobody else has; returns who had them before."""
    before: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        return before  # where Python takes no handlers
    for number in (signal.SIGINT, *TO_END, signal.SIGUSR2):
        handler = signal.getsignal(number)
        free = handler in (signal.SIG_DFL, signal.default_int_handler)
        foreign = callable(handler) and not free and handler is not _receive
        if foreign and number in OF_OTHERS:
            _asked.others[number] = cast(Handler, handler)
        elif not free or number == signal.SIGUSR2:
            continue  # ours already, ignored as under nohup, or somebody else's
        before[number] = handler
        signal.signal(number, _receive)
    return before


def handed_on(error: Stopped) -> None:
    """Call who had the signal before us: submitit hands the job in again, and exits."""
    if handler := _asked.others.get(error.number):
        handler(error.number, None)


def is_worker() -> bool:
    """Return whether joblib started this process."""
    return multiprocessing.current_process().name.startswith(WORKER)


def _receive(number: int, frame: FrameType | None) -> None:
    other = _asked.others.get(number)
    if other is not None and not _asked.working:
        other(number, frame)
        return
    if _asked.number is not None:
        _end(number)
    _asked.number = number
    if number == signal.SIGINT:
        _asked.told = True
        raise KeyboardInterrupt
    workers = _workers()
    for worker in workers:
        os.kill(worker.pid, number)
    if not workers and not _asked.held and (_asked.working or not is_worker()):
        obey()


def _end(number: int) -> None:
    """End without another line of Python: what was kept stays, what is half-written goes later."""
    for worker in _workers():
        os.kill(worker.pid, signal.SIGKILL)
    os.write(2, f"unlearn: ended at once by a second {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


def _workers() -> list[Any]:
    """Return joblib's workers that this process has started and that are alive."""
    return [one for one in multiprocessing.active_children() if one.name.startswith(WORKER)]
