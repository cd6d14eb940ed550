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


class Bar:
    """One piece of long work, counted in steps."""

    def __init__(self, title: str, steps: int, live: Any = None) -> None:
        self.title, self.steps, self.done = title, steps, 0
        self._live = live
        self._task = live.add_task(title, total=steps, note="") if live else None
        self._started = self._logged = time.monotonic()

    def advance(self, note: str = "", by: int = 1) -> None:
        """Count `by` steps as done; `note` stands behind the bar."""
        self.done += by
        if self._live:
            self._live.update(self._task, advance=by, note=note)
        elif self.done and time.monotonic() - self._logged > LOG_EVERY:
            self._logged = time.monotonic()
            left = (self._logged - self._started) / self.done * max(self.steps - self.done, 0)
            log.info(
                "%s: %d/%d, at most %.0f s left. %s", self.title, self.done, self.steps, left, note
            )


@contextmanager
def progress(title: str, steps: int) -> Iterator[Bar]:
    """Show a bar on a terminal, or a line in the log every half minute elsewhere."""
    if not sys.stderr.isatty():
        yield Bar(title, steps)
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(bar_width=24),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TextColumn("left"),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.fields[note]}"),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as live:
        yield Bar(title, steps, live)
