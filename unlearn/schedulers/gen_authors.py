"""`gen_authors`: the automatic learning rate by the rules of GeN's authors (Bu & Xu, ICLR 2025).

No search, so `optimizer.lr` matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from unlearn.options.declared import BELOW_ONE, ONE_OR_MORE, Range, option
from unlearn.schedulers.base import Losses, Rate
from unlearn.schedulers.parabola import fit
from unlearn.schedulers.probes import Line, Probing, direction_of


@dataclass
class GenAuthors(Probing):
    """An arithmetic average with η*, from `optimizer.lr` on: no search, so that one matters.

    Bu & Xu, ICLR 2025, arXiv 2407.02772, η ← smooth·η + (1 − smooth)·clip(η*, η/limit, η·limit).
    A probe without a minimum ahead is ignored. A step to a loss that is not finite is taken back,
    and the rate divided by ten, which is ours. So is that the three losses are over the whole
    logical batch (theirs: the first micro-batch), that the optimizer advances once a step (theirs:
    a second time for a probe), and that no R² gates the parabola, which says nothing with three
    points.
    """

    examples = ("optimizer.lr=1e-4", "scheduler.smooth=0 scheduler.limit=null")

    interval: int = option(10, ONE_OR_MORE)
    """Steps from one probe to the next; the authors suggest 4 to 12. A probe costs two retain
    forward passes."""
    smooth: float = option(0.9, BELOW_ONE)
    """Weight of the old rate in the arithmetic average with η*."""
    limit: float | None = option(2.0, Range("more than 1, or null for no limit", lambda n: n > 1))
    """Most that η* may differ from the rate at one probe, as a factor."""

    def probes(self, number: int) -> bool:
        return number % self.interval == 0

    def unit(self, number: int) -> float:
        return self.lr

    def probed_rate(self, number: int, line: Line, losses: Losses) -> Rate:
        line.move(0.0)
        here = losses.probed_here()
        line.move(self.lr)
        ahead = losses.probed()
        line.move(-self.lr)
        parabola = fit(losses.probed(), here, ahead, self.lr)
        if not math.isfinite(parabola.ahead):
            return Rate(self.lr / 10, None, "not finite: step taken back", taken=False)
        star = parabola.minimum
        if star is None:
            return Rate(self.lr, None, "no minimum ahead: kept")
        aim = star
        if self.limit is not None:
            aim = min(max(star, self.lr / self.limit), self.lr * self.limit)
        lr = self.smooth * self.lr + (1 - self.smooth) * aim
        return Rate(lr, star, direction_of(lr, self.lr))
