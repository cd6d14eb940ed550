"""Which of the evaluated states is the best, and when to stop looking for a better one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from unlearn.errors import ConfigurationError


def lower_is_better(metric: str) -> bool:
    """Return whether a smaller value is better.

    What a model shows on forget rows is better small, but for its loss; what it shows on all others
    is better large, but for its loss.
    """
    split, _, name = metric.partition("/")
    if not name:
        return metric == "forget_quality_D"
    return (split == "forget") != (name == "loss")


def require_known(best: str | None, metrics: Mapping[str, float | None]) -> None:
    """Raise ConfigurationError where `best` is not among the metrics measured before training."""
    if best is not None and best not in metrics:
        raise ConfigurationError(
            f"evaluation.best: {best!r} is not measured here; measured are "
            f"{', '.join(sorted(metrics))}"
        )


def distance(metric: str, value: float) -> float:
    """Return the value as a number of which less is better; privleak is best at 0."""
    if metric == "privleak":
        return abs(value)
    return value if lower_is_better(metric) else -value


@dataclass
class Watch:
    """Remembers the best evaluation by one metric, and counts those since that were no better."""

    metric: str
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
            here = distance(self.metric, value)
            better = self.best_value is None or here < distance(self.metric, self.best_value)
        if better:
            self.best_step, self.best_value, self.waited = step, value, 0
        else:
            self.waited += 1
        return better

    @property
    def tired(self) -> bool:
        """Whether patience is at its end."""
        return self.patience is not None and self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best_step, self.best_value = state["best_step"], state["best_value"]
        self.waited = state["waited"]
