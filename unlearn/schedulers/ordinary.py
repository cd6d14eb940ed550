"""The ordinary schedules: the configured rate times a factor of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unlearn.options.declared import BELOW_ONE, option
from unlearn.schedulers.base import Scheduler


@dataclass
class Ordinary(Scheduler):
    """`optimizer.lr` times a warm-up from 0 and a factor that falls with progress."""

    needs = "an optimizer.lr of your choosing"
    examples = ("optimizer.lr=1e-4",)

    warmup: float = option(0.0, BELOW_ONE)
    """Share of the steps over which the rate rises linearly to `optimizer.lr`."""

    def factor(self, progress: float) -> float:
        """Return the factor at `progress`, 0 at the end of the warm-up and 1 at the last step."""
        raise NotImplementedError

    def rate(self, number: int) -> float:
        warm = int(self.warmup * self.steps)
        if number < warm:
            return self.lr * (number + 1) / warm
        return self.lr * self.factor((number - warm) / max(self.steps - warm, 1))


@dataclass
class Constant(Ordinary):
    """The configured rate at every step after the warm-up."""

    def factor(self, progress: float) -> float:
        return 1.0


@dataclass
class LinearDecay(Ordinary):
    """The configured rate, falling in a straight line to 0 after the last step."""

    def factor(self, progress: float) -> float:
        return 1 - progress


@dataclass
class Cosine(Ordinary):
    """The configured rate, falling along half a cosine to 0 after the last step."""

    def factor(self, progress: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * progress))
