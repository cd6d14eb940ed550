"""`gen`: the automatic learning rate, from what the step does to the two losses.

`optimizer.lr` is only where its search starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

from unlearn.options.declared import ABOVE_ZERO, ONE_OR_MORE, option
from unlearn.schedulers.base import Losses, Rate
from unlearn.schedulers.probes import Line, Probing, direction_of

MOST_PROBES = 16
"""Probes of the search at the first step."""
AGREEMENT = 1.15
"""The search ends when the rate is known to within this factor."""
FARTHEST = 10.0
"""Most that one probe of the search may move the rate, as a factor."""
NOT_FINITE = "not finite: step taken back"
PAYS = "retain rows would pay: fell"
RECOVERS = "retain rows recover: kept"
NEAR = "retain rows are near their bound: kept"
E_FOLDS = 8.0
"""log V of a loss without a floor counts as so many e-folds: with the default pace, a steady rate
carries a run to a guess."""
DONE = "forget rows are done: kept"
LEFT = 0.1
"""Share of the first forget loss, of one that ends at zero, below which the rate rises no more."""


class Decay(Enum):
    """What the rate is multiplied by as the run goes on."""

    none = "none"
    linear = "linear"
    cosine = "cosine"


@dataclass
class Gen(Probing):
    """The automatic learning rate: as fast as the run is long, while the retain rows bear it.

    Our own; it keeps the idea of Bu & Xu, ICLR 2025, arXiv 2407.02772, to read the rate off the
    loss along the optimizer's own step, and not their parabola: a target that knows its retain rows
    has its retain loss at the floor, where the minimum of a parabola is rounding. A rate η is
    judged at w − η·u by two numbers instead,

        c(η) = |L_F(w − η·u) − L_F(w)|    and    e(η) = L_R(w − η·u) − L_R(target),

    L_F of the step's own forget rows, L_R the NLL of the *next* step's retain rows. The rate is the
    one at which c is `pace` / steps of the forget loss, so that a run forgets in its own time:
    exp(−pace) is what a steady rate would leave. Where the loss has no floor, an eighth of log V,
    the NLL of a guess among V tokens, stands for it. Where e is above `slack` and the step raises
    it, the rate is halved.

    A probe costs two forward passes. The first step searches, the next ones follow with at most a
    factor of two a probe, and by default the rate falls linearly to zero over the run.
    """

    reads_target = True

    interval: int = option(10, ONE_OR_MORE)
    """Steps from one probe to the next. A probe costs two forward passes."""
    first_probes: int = option(5, ONE_OR_MORE)
    """Steps at the start that are all probed."""
    pace: float = option(8.0, ABOVE_ZERO)
    """Share of the forget loss that a step may take away, times the steps of the run."""
    slack: float = option(0.05, ABOVE_ZERO)
    """Nats by which the loss of retain rows may lie above the target's on the same rows."""
    decay: Decay = Decay.linear
    """What the rate is multiplied by over the run."""

    def begin(self, lr: float, steps: int) -> None:
        super().begin(lr, steps)
        self.first: float | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self.lr, "first": self.first}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lr, self.first = state["lr"], state["first"]

    def probes(self, number: int) -> bool:
        return number < self.first_probes or number % self.interval == 0

    def unit(self, number: int) -> float:
        # A line through a tiny rate is rounding far out, and one through a wild rate overflows.
        return 1.0

    def decayed(self, number: int) -> float:
        progress = number / self.steps
        if self.decay is Decay.linear:
            return 1 - progress
        return 0.5 * (1 + math.cos(math.pi * progress)) if self.decay is Decay.cosine else 1.0

    def probed_rate(self, number: int, line: Line, losses: Losses) -> Rate:
        decayed = self.decayed(number)
        found = self._search if number == 0 else self._follow
        rate, reason = found(self.lr * decayed, line, losses)
        return Rate(rate / decayed, None, reason, taken=reason is not NOT_FINITE)

    def _search(self, rate: float, line: Line, losses: Losses) -> tuple[float, str]:
        """Return the rate of the first step, the same from wherever it starts, and why it is so.

        The rate lies between the highest at which the step does too little and the lowest at which
        it does too much; the losses along the line are curved, so that both have to be known.
        """
        low, high, why = 0.0, math.inf, NOT_FINITE
        for _ in range(MOST_PROBES):
            factor, reason = self._judged(rate, line, losses)
            if factor >= 1 and not self._past_the_floor(rate, line, losses):
                low, why = rate, reason
            else:
                high, why = rate, why if low else reason
            if high < AGREEMENT * low or (low == rate and factor < AGREEMENT):
                break
            rate *= min(max(factor, 1 / FARTHEST), FARTHEST)
            if not low < rate < high:
                rate = math.sqrt(low * high) if low else high / FARTHEST
        return low or rate, why

    def _past_the_floor(self, rate: float, line: Line, losses: Losses) -> bool:
        """Return whether a loss with a floor has passed it: a step of half the length does more."""
        if not losses.floor:
            return False
        line.move(rate)
        whole = losses.forget() or 0.0
        line.move(rate / 2)
        return whole > (losses.forget() or 0.0)

    def _follow(self, rate: float, line: Line, losses: Losses) -> tuple[float, str]:
        """Return the rate of a later step, a factor of two from the last one at most."""
        for _ in range(MOST_PROBES):
            factor, reason = self._judged(rate, line, losses)
            if reason is not NOT_FINITE:
                return rate * min(max(factor, 0.5), 2.0), reason
            rate /= FARTHEST
        return rate, NOT_FINITE

    def _judged(self, rate: float, line: Line, losses: Losses) -> tuple[float, str]:
        """Return what the rate is to be multiplied by, and why."""
        line.move(rate)
        forget, excess = losses.forget(), losses.excess()
        if not all(map(math.isfinite, (forget or 0.0, excess or 0.0))):
            return 0.0, NOT_FINITE
        if excess is not None and excess > self.slack:
            line.move(0.0)
            return (0.0, PAYS) if excess > (losses.excess() or 0.0) else (1.0, RECOVERS)
        factor = math.inf
        if forget is not None:
            line.move(0.0)
            here = losses.forget_here()
            most, change = self._most(here, losses), abs(here - forget)
            factor = most / change if change else math.inf
            if factor > 1 and self.first is not None and here < LEFT * self.first:
                return 1.0, DONE
        if factor > 1 and excess is not None and excess > self.slack / 2:
            return 1.0, NEAR
        return factor, direction_of(factor, 1.0)

    def _most(self, here: float, losses: Losses) -> float:
        """Return how much the forget loss may change in a step."""
        if losses.floor:
            self.first = here if self.first is None else self.first
            scale = max(here, LEFT * self.first)
        else:
            scale = losses.guess / E_FOLDS
        return self.pace * scale / self.steps
