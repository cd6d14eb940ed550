"""Which of the evaluated states is the best, and when to stop looking for a better one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from unlearn.metrics.catalogue import Way, distance


@dataclass
class BestCheckpoint:
    """Remembers the best evaluation by one metric, and counts those since that were no better."""

    metric: str
    better: Way
    """Which of its values are good: higher, lower, or those near a number."""
    patience: int | None = None
    """Evaluations in a row without a better one that end the training; None = never."""
    best_step: int | None = None
    best_value: float | None = None
    waited: int = 0

    def saw(self, step: int, metrics: Mapping[str, float | None]) -> bool:
        """Take the metrics of an evaluation; return whether it is the best so far.

        One that could not be measured is never the best.
        """
        value = metrics.get(self.metric)
        if value is None or not math.isfinite(value):
            better = False
        else:
            here = distance(self.better, value)
            better = self.best_value is None or here < distance(self.better, self.best_value)
        if better:
            self.best_step, self.best_value, self.waited = step, value, 0
        else:
            self.waited += 1
        return better

    @property
    def out_of_patience(self) -> bool:
        """Whether patience is at its end."""
        return self.patience is not None and self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best_step, self.best_value = state["best_step"], state["best_value"]
        self.waited = state["waited"]
