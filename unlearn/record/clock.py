"""Where the time of a run goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds spent preparing, training and evaluating; evaluation inside training counts once."""

    def __init__(self) -> None:
        self.spent = {"prepare_s": 0.0, "train_s": 0.0, "evaluate_s": 0.0}
        self._current: str | None = None
        self._since = 0.0

    @contextmanager
    def spend(self, on: str) -> Iterator[None]:
        """Book the time inside on `on`, and not on whatever is being booked around it."""
        outer = self._switch(on)
        try:
            yield
        finally:
            self._switch(outer)

    def state_dict(self) -> dict[str, float]:
        """Return the seconds so far, those that are being spent included."""
        self._switch(self._current)
        return dict(self.spent)

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Add the seconds that an earlier process spent; what it measured is done again."""
        for name, seconds in state.items():
            self.spent[name] += seconds

    def _switch(self, to: str | None) -> str | None:
        now, before = time.monotonic(), self._current
        if before is not None:
            self.spent[before] += now - self._since
        self._current, self._since = to, now
        return before
