"""`gen`: the automatic learning rate, from a parabola fitted to the retain loss along the step.

`optimizer.lr` is only where its search starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from unlearn.options.declared import BELOW_ONE, ONE_OR_MORE, Range, option
from unlearn.schedulers.base import Rate
from unlearn.schedulers.probing import Probe, Probing, direction_of

MOST_PROBES = 12
"""Probes of the search at the first step."""
AGREEMENT = 1.15
"""The search ends when a probe moves the rate by less than this factor."""
FARTHEST = 100.0
"""Most that one probe of the search may move the rate; a parabola says little far away."""
SLIGHT = 0.1
"""Share of `signal` below which a change of the loss says nothing at all: the search leaps."""
FARTHEST_REACH = 10.0
"""Most that a probe may reach beyond the rate, as a factor."""
RETREAT = 4.0
"""What a rate is divided by where the loss rises and no minimum lies ahead."""
GROWTH = 4.0
"""What a rate is multiplied by that does not even bend the loss."""


class Decay(Enum):
    """What the rate is multiplied by as the run goes on."""

    none = "none"
    linear = "linear"
    cosine = "cosine"


@dataclass
class Gen(Probing):
    """The automatic learning rate; `optimizer.lr` is where its search starts, not what it is.

    Bu & Xu, ICLR 2025, arXiv 2407.02772. Where we deviate from the authors' rules
    (:class:`unlearn.schedulers.GenAuthors`), and why:

    - a search at the first step, so that it does not matter where the rate starts: a parabola
      through points far outside its range misleads every rule that moves by a bounded factor;
    - η* differs from batch to batch by a factor of three and more, and errors in a rate are
      factors: the rate is the geometric mean of what the probes said, and the first steps are all
      probed;
    - a probe without a minimum ahead whose loss rises asks for a quarter of the rate;
    - weights that are rounded to bfloat16 make the loss along the line a rough one: its errors are
      up to 1 % of the loss, and a parabola through three of them means nothing. A probe counts
      where its bend is at least `signal` times the loss; where it is not, the next one reaches
      farther than the rate, up to the last η*, and a rate that does not even bend the loss grows;
    - the probed batch is the one that the step was made for, so a probe is too hopeful, the more so
      the larger the retain set and the worse the retain loss is. The first probes are made on the
      retain batch of the next step instead, and later rates are capped by what those said;
    - by default the rate falls linearly to zero over the run: the retain task has the last word.
    """

    interval: int = option(10, ONE_OR_MORE)
    """Steps from one probe to the next. A probe costs two retain forward passes."""
    smooth: float = option(0.7, BELOW_ONE)
    """Weight of the old rate in the geometric average with η*."""
    limit: float = option(10.0, Range("more than 1", lambda value: value > 1))
    """Most that η* may differ from the rate at one probe, as a factor."""
    decay: Decay = Decay.linear
    """What the averaged rate is multiplied by over the run."""
    first_probes: int = option(5, ONE_OR_MORE)
    """Steps at the start that are all probed, on the next step's retain batch."""
    signal: float = option(0.05, BELOW_ONE)
    """Least bend of a probe that counts, as a share of the loss: less may be rounding of
    bfloat16."""
    cap: float = option(2.0, ONE_OR_MORE)
    """Most that a later rate may be, as a multiple of the highest of the first probes."""

    def begin(self, lr: float, steps: int) -> None:
        super().begin(lr, steps)
        self.highest = self.reach = lr

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self.lr, "highest": self.highest, "reach": self.reach}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lr, self.highest, self.reach = state["lr"], state["highest"], state["reach"]

    def probes(self, number: int) -> bool:
        return number < self.first_probes or number % self.interval == 0

    def probes_held_out(self, number: int) -> bool:
        return number < self.first_probes

    def unit(self, number: int) -> float:
        # A line through a tiny rate is rounding far out, and one through a wild rate overflows.
        return 1.0

    def decayed(self, number: int) -> float:
        progress = number / self.steps
        if self.decay is Decay.linear:
            return 1 - progress
        return 0.5 * (1 + math.cos(math.pi * progress)) if self.decay is Decay.cosine else 1.0

    def probed_rate(self, number: int, probe: Probe) -> Rate:
        if number == 0:
            rate = self._search(probe)
            self.highest = rate.lr
            return rate
        rate = self._adjust(probe, self.lr * self.decayed(number))
        if number < self.first_probes:
            self.highest = max(self.highest, rate.lr)
        elif rate.lr > self.cap * self.highest:
            return replace(rate, lr=self.cap * self.highest, reason="at its highest")
        return rate

    def _search(self, probe: Probe) -> Rate:
        """Probe again from each new rate until the rate stays."""
        rate, star = self.lr, None
        for number in range(1, MOST_PROBES + 1):
            parabola = probe(rate)
            if not parabola.finite:
                new = rate / 10
            elif not parabola.clear(rate, self.signal):
                if star is not None and rate == self.reach:  # a better one cannot be told from it
                    return Rate(rate, star, f"found (after {number} probes)")
                new = rate * (10 if abs(parabola.rise) < SLIGHT * self.signal else RETREAT)
            elif parabola.minimum is not None:
                star = parabola.minimum
                new = min(max(star, rate / FARTHEST), rate * FARTHEST)
                self.reach = new
                if AGREEMENT > new / rate > 1 / AGREEMENT:
                    return Rate(new, star, f"found (after {number} probes)")
            else:
                new = rate / RETREAT if parabola.rise > 0 else rate * RETREAT
            rate = new
        self.reach = rate
        if not parabola.finite:
            return Rate(rate, None, "not finite: step taken back", taken=False)
        return Rate(rate, star, f"not settled (after {MOST_PROBES} probes)")

    def _adjust(self, probe: Probe, rate: float) -> Rate:
        """Return the undecayed rate after one probe, where the step is about to be taken at `rate`.

        A probe reaches beyond the rate where the last one said that the minimum lies there.
        """
        probed = min(max(self.reach, rate), FARTHEST_REACH * rate)
        parabola = probe(probed)
        clear = parabola.clear(probed, self.signal)
        star = parabola.minimum if clear else None
        if not math.isfinite(parabola.ahead):
            self.reach = rate
            if probed > rate:
                return Rate(self.lr, None, "not finite far ahead: kept")
            return Rate(self.lr / 10, None, "not finite: step taken back", taken=False)
        if star is not None:
            self.reach = star
            aim, reason = star, ""
        elif parabola.rise > (0 if clear else self.signal):
            self.reach = probed / 2
            aim, reason = self.lr / RETREAT, "no minimum ahead, loss rises: fell"
        elif not clear:
            self.reach = 2 * probed
            aim, reason = self.lr * GROWTH, "no bend to be seen: rose"
        else:
            self.reach = 2 * probed
            return Rate(self.lr, None, "no minimum ahead: kept")
        aim = min(max(aim, self.lr / self.limit), self.lr * self.limit)
        # Errors in a rate are factors, so the average is the geometric one.
        lr = math.exp(self.smooth * math.log(self.lr) + (1 - self.smooth) * math.log(aim))
        return Rate(lr, star, reason or direction_of(lr, self.lr))
