"""When it is enough: the stop rule `training.until`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any


@dataclass
class StopRule:
    """Enough once the mean NLL of the forget rows has reached `level`.

    Ascent has no end of its own: beyond what a model shows that never saw the rows, every step only
    damages the rest. With `retain_slack` the run also waits until the retain task has repaired what
    forgetting broke: the mean retain loss since the last check lies at most so many nats a token
    above the first step's. Stopping alone can end in the middle of the damage (METHODS 5).
    """

    level: float
    """Nats a token, the mean over the forget rows."""
    every: int
    """Steps between checks, each a forward pass over the forget rows."""
    forget_loss: Callable[[], float]
    """Mean NLL of the forget rows, now."""
    retain_slack: float | None = None
    _retain: list[float] = field(default_factory=list)
    _first: float | None = None

    def saw(self, retain_loss: float | None) -> None:
        """Take the retain loss of a step; None where there is no retain task."""
        if retain_loss is not None:
            self._first = retain_loss if self._first is None else self._first
            self._retain.append(retain_loss)

    def check(self, step: int) -> dict[str, float | bool] | None:
        """Return what a check at this step found, `until/enough` being its answer; None between."""
        if step % self.every:
            return None
        forget = self.forget_loss()
        recent, self._retain = self._retain, []
        repaired = self._repaired(recent)
        return {
            "until/forget_loss": forget,
            "until/level": self.level,
            "until/enough": forget >= self.level and repaired,
        }

    def state_dict(self) -> dict[str, Any]:
        return {"retain": list(self._retain), "first": self._first}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._retain, self._first = list(state["retain"]), state["first"]

    def _repaired(self, recent: Sequence[float]) -> bool:
        if self.retain_slack is None or self._first is None or not recent:
            return True
        return fmean(recent) <= self._first + self.retain_slack
