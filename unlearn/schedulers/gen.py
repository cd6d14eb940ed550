"""`gen`: the automatic learning rate, from a parabola fitted to the retain loss along the step.

Generalized Newton: Bu & Xu, *Automatic gradient descent with generalized Newton's method*, ICLR
2025, arXiv 2407.02772; used for unlearning by NGDiff (arXiv 2410.22086). With u the optimizer's
step per unit of learning rate (moments and weight decay included),

    L_R(w − x·u) ≈ L_R(w) − b·x + ½·A·x²,     η* = b / A,

and three points of the loss, at x = −η, 0, η, give A = (L₊ − 2L₀ + L₋)/η² and b = (L₊ − L₋)/(2η)
with L₊ on the ascent side. Exact on a quadratic for every probe η.

Where we deviate from the authors' code, and why:
- the optimizer advances once a step. u is read off the step itself, (w − w′)/η, so a probe costs
  two forward passes and Adam's moments stay honest (theirs advance a second time);
- L₀, L₊, L₋ are over the whole logical batch (theirs: the first micro-batch);
- no R² gate, which says nothing with three points;
- a search at the first step, so that it does not matter where the rate starts: a parabola through
  points far outside its range misleads every rule that moves by a bounded factor;
- η* differs from batch to batch by a factor of three and more, and errors in a rate are factors:
  the rate is the geometric mean of what the probes said, and the first steps are all probed;
- a probe without a minimum ahead whose loss rises asks for a quarter of the rate;
- weights that are rounded to bfloat16 make the loss along the line a rough one: its errors are up
  to 1 % of the loss, and a parabola through three of them means nothing. A probe counts where its
  bend is at least `signal` times the loss; where it is not, the next one reaches farther than the
  rate, up to the last η*, and a rate that does not even bend the loss grows;
- the probed batch is the one that the step was made for, so a probe is too hopeful, the more so the
  larger the retain set and the worse the retain loss is. The first probes are made on the retain
  batch of the next step instead, and later rates are capped by what those said;
- by default the rate falls linearly to zero over the run: the retain task has the last word.
`scheduler=gen_authors` sets the authors' rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from unlearn.compute.gradients import Gradient, inner_product
from unlearn.errors import ConfigurationError
from unlearn.schedulers.base import Rate, Scheduler, set_rate

MOST_PROBES = 12
"""Probes of the search at the first step."""
AGREEMENT = 1.15
"""The search ends when a probe moves the rate by less than this factor."""
FARTHEST = 100.0
"""Most that one probe of the search may move the rate; a parabola says little far away."""
SMALLEST_LOSS = 1e-3
"""Nats a token; changes of a smaller loss count as changes of this one."""
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


class Average(Enum):
    """How an old rate and a new one are averaged."""

    geometric = "geometric"
    arithmetic = "arithmetic"


@dataclass(frozen=True)
class Parabola:
    """The fit at one probe: three losses, slope b and curvature A."""

    here: float
    ahead: float
    slope: float
    curvature: float

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, (self.ahead, self.slope, self.curvature)))

    @property
    def usable(self) -> bool:
        """Whether there is a minimum ahead: the acceptance rule of GeN's authors."""
        return self.finite and self.slope > 0 and self.curvature > 0

    @property
    def minimum(self) -> float | None:
        """η* = b/A, or None where there is none."""
        return self.slope / self.curvature if self.usable else None

    @property
    def scale(self) -> float:
        """The loss that a change of it is compared with."""
        return max(abs(self.here), SMALLEST_LOSS)

    @property
    def rise(self) -> float:
        """L₋ − L₀ relative to the loss."""
        return (self.ahead - self.here) / self.scale

    def clear(self, probed: float, signal: float) -> bool:
        """Whether the bend |L₊ − 2L₀ + L₋| at the rate `probed` is more than rounding."""
        return self.finite and abs(self.curvature) * probed**2 >= signal * self.scale


def fit(before: float, here: float, ahead: float, rate: float) -> Parabola:
    """Fit through L₊ = `before`, L₀ = `here`, L₋ = `ahead`, probed at −`rate`, 0 and `rate`."""
    slope = (before - ahead) / (2 * rate)
    return Parabola(here, ahead, slope, (before - 2 * here + ahead) / rate**2)


def fit_with_slope(here: float, ahead: float, slope: float, rate: float) -> Parabola:
    """Fit through L₀ and L₋ with the known slope b = g_retain·u."""
    return Parabola(here, ahead, slope, 2 * (ahead - here + rate * slope) / rate**2)


class Line:
    """The parameters on the line w − x·u through the step that the optimizer took.

    Two copies of the weights are kept while probing; by then both gradients are freed, so the peak
    memory of a step stays what it is. `move` to 0 and to the unit give both copies back bit by bit.
    """

    def __init__(self, optimizer: Optimizer, parameters: Sequence[Parameter], unit: float) -> None:
        self.parameters, self.unit = parameters, unit
        self.start = [p.detach().clone() for p in parameters]
        set_rate(optimizer, unit)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.end = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def move(self, x: float) -> None:
        """Put the parameters at w − x·u."""
        for parameter, start, end in zip(self.parameters, self.start, self.end, strict=True):
            if x == 0:  # the line does not lead back to the last bit, nor from an infinite end
                parameter.copy_(start)
            elif x == self.unit:
                parameter.copy_(end)
            else:
                torch.lerp(start, end, x / self.unit, out=parameter.data)

    def slope(self, gradient: Gradient) -> float:
        """Return gradient·u."""
        steps: Gradient = [start - end for start, end in zip(self.start, self.end, strict=True)]
        return inner_product(gradient, steps).item() / self.unit


class Probe:
    """Evaluates the retain loss on the line and fits the parabola."""

    def __init__(
        self, line: Line, retain_loss: Callable[[], float], here: float, gradient: Gradient | None
    ) -> None:
        self.line, self.retain_loss, self.here = line, retain_loss, here
        self.slope = None if gradient is None else line.slope(gradient)

    def loss_at(self, x: float) -> float:
        self.line.move(x)
        return self.retain_loss()

    def __call__(self, rate: float) -> Parabola:
        """Probe at `rate`; with a known slope ahead only, else on both sides."""
        ahead = self.loss_at(rate)
        if self.slope is not None:
            return fit_with_slope(self.here, ahead, self.slope, rate)
        return fit(self.loss_at(-rate), self.here, ahead, rate)


@dataclass
class Gen(Scheduler):
    """The automatic learning rate; `optimizer.lr` is where it starts, not what it is."""

    interval: int = 10
    """Steps from one probe to the next; the authors suggest 4 to 12. Costs two retain forward
    passes a probe."""
    points: int = 2
    """Probed points. 2: at ±η. 1: ahead only, with b = g_retain·u known from this very step; a
    probe of another batch takes 2 all the same."""
    smooth: float = 0.7
    """Weight of the old rate in the average with η*, within [0, 1)."""
    limit: float | None = 10.0
    """Most that η* may differ from the rate at one probe, as a factor; null = no limit."""
    average: Average = Average.geometric
    """geometric, or arithmetic as the authors have it."""
    decay: Decay = Decay.linear
    """What the averaged rate is multiplied by over the run: none, linear or cosine."""
    search: bool = True
    """Repeat the first probe from each new rate until two agree."""
    first_probes: int = 5
    """Steps at the start that are all probed, at least 1."""
    retreat: bool = True
    """Lower the rate where the loss rises and no minimum lies ahead; false ignores such probes."""
    signal: float = 0.05
    """Least bend of a probe that counts, as a share of the loss: less may be rounding of bfloat16.
    0 = every probe counts, and is made at the rate itself, as the authors do."""
    held_out: bool = True
    """Make the first probes on the retain batch of the next step, which theirs was not made for.
    false = all on the step's own batch, as the authors do."""
    cap: float | None = 2.0
    """Most that a later rate may be, as a multiple of the highest of the first probes; null = no
    cap."""

    def __post_init__(self) -> None:
        problems = []
        if self.interval < 1:
            problems.append(f"interval: {self.interval}; allowed: 1 or more steps")
        if self.points not in (1, 2):
            problems.append(f"points: {self.points}; allowed: 1 or 2")
        if not 0 <= self.smooth < 1:
            problems.append(f"smooth: {self.smooth}; allowed: 0 up to, not including, 1")
        if self.limit is not None and not self.limit > 1:
            problems.append(f"limit: {self.limit}; allowed: more than 1, or null for no limit")
        if not 0 <= self.signal < 1:
            problems.append(f"signal: {self.signal}; allowed: 0 up to, not including, 1")
        if self.cap is not None and not self.cap >= 1:
            problems.append(f"cap: {self.cap}; allowed: 1 or more, or null for no cap")
        if self.first_probes < 1:
            problems.append(f"first_probes: {self.first_probes}; allowed: 1 or more steps")
        if problems:
            raise ConfigurationError(problems)

    def begin(self, lr: float, steps: int) -> None:
        super().begin(lr, steps)
        self.highest = self.reach = lr

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self.lr, "highest": self.highest, "reach": self.reach}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lr, self.highest, self.reach = state["lr"], state["highest"], state["reach"]

    def probes(self, number: int) -> bool:
        """Return whether step `number`, counted from 0, is probed."""
        return number < self.first_probes or number % self.interval == 0

    def probes_held_out(self, number: int) -> bool:
        return self.held_out and number < self.first_probes

    def needs_retain_gradient(self, number: int) -> bool:
        # The slope g_retain·u is the step's own batch's; on another one both sides are probed.
        return self.points == 1 and self.probes(number) and not self.probes_held_out(number)

    def step(
        self,
        number: int,
        optimizer: Optimizer,
        parameters: Sequence[Parameter],
        retain_loss: Callable[[], float],
        loss_here: float | None,
        retain_gradient: Gradient | None = None,
    ) -> Rate:
        decay = self._decay(number)
        if not self.probes(number):
            set_rate(optimizer, self.lr * decay)
            optimizer.step()
            return Rate(self.lr * decay)
        here = retain_loss() if loss_here is None else loss_here
        searching = number == 0 and self.search
        # A line through a tiny rate is rounding far out, and one through a wild rate overflows.
        far = searching or self.signal > 0
        line = Line(optimizer, parameters, unit=1.0 if far else self.lr * decay)
        probe = Probe(line, retain_loss, here, retain_gradient)
        rate = self._search(probe) if searching else self._adjust(probe, self.lr * decay)
        if number < self.first_probes:
            self.highest = max(self.highest, rate.lr) if number else rate.lr
        elif self.cap is not None and rate.lr > self.cap * self.highest:
            rate = replace(rate, lr=self.cap * self.highest, reason="at its highest")
        self.lr = rate.lr
        line.move(self.lr * decay if rate.taken else 0.0)
        return replace(rate, lr=self.lr * decay)

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
        probed = min(max(self.reach, rate), FARTHEST_REACH * rate) if self.signal else rate
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
        elif self.retreat and parabola.rise > (0 if clear else self.signal):
            self.reach = probed / 2
            aim, reason = self.lr / RETREAT, "no minimum ahead, loss rises: fell"
        elif not clear:
            self.reach = 2 * probed
            aim, reason = self.lr * GROWTH, "no bend to be seen: rose"
        else:
            self.reach = 2 * probed
            return Rate(self.lr, None, "no minimum ahead: kept")
        if self.limit is not None:
            aim = min(max(aim, self.lr / self.limit), self.lr * self.limit)
        lr = self._averaged(aim)
        return Rate(
            lr, star, reason or ("rose" if lr > self.lr else "fell" if lr < self.lr else "kept")
        )

    def _averaged(self, aim: float) -> float:
        if self.average is Average.arithmetic:
            return self.smooth * self.lr + (1 - self.smooth) * aim
        return math.exp(self.smooth * math.log(self.lr) + (1 - self.smooth) * math.log(aim))

    def _decay(self, number: int) -> float:
        progress = number / self.steps
        if self.decay is Decay.linear:
            return 1 - progress
        return 0.5 * (1 + math.cos(math.pi * progress)) if self.decay is Decay.cosine else 1.0
