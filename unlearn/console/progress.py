"""Progress bars for all long work: how far, how fast, how long still."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)

LOG_EVERY = 30.0
"""Seconds between lines in the log where no terminal shows a bar."""
FORETOLD = 3
"""Steps after which the log says how long the work will be, where that is longer than a line's."""


class Bar:
    """One piece of long work, counted in steps, `done` of them by an earlier process."""

    def __init__(self, title: str, steps: int, done: int = 0, live: Any = None) -> None:
        self.title, self.steps, self.done, self._before = title, steps, done, done
        self._live = live
        self._task = live.add_task(title, total=steps, completed=done, note="") if live else None
        self._started = self._logged = time.monotonic()

    def advance(self, note: str = "", by: int = 1) -> None:
        """Count `by` steps as done; `note` stands behind the bar."""
        self.done += by
        if self._live:
            self._live.update(self._task, advance=by, note=note)
            return
        here, now = self.done - self._before, time.monotonic()
        left = (now - self._started) / max(here, 1) * max(self.steps - self.done, 0)
        foretold = here - by < FORETOLD <= here and left > LOG_EVERY
        if foretold or (here and now - self._logged > LOG_EVERY):
            self._logged = now
            time_left = f"{left:.0f} s" if left < 180 else f"{left / 60:.0f} min"
            log.info(
                "%s: %d/%d, at most %s left. %s", self.title, self.done, self.steps, time_left, note
            )


@contextmanager
def progress(title: str, steps: int, done: int = 0) -> Iterator[Bar]:
    """Show a bar on a terminal, or lines in the log elsewhere: soon, then every half minute."""
    if not sys.stderr.isatty():
        yield Bar(title, steps, done)
        return
    from rich import progress as rich_progress

    from unlearn.console.visible import console

    columns = (
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(bar_width=24),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TextColumn("left"),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.fields[note]}", markup=False),
    )
    with rich_progress.Progress(*columns, console=console(stderr=True), transient=True) as live:
        yield Bar(title, steps, done, live)
