"""Forget-side dual: retain as well as a bound on the forget loss allows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unlearn.options.declared import ABOVE_ZERO, Range, option, range_problems, refuse
from unlearn.weightings.base import Weighting


@dataclass
class ForgetDual(Weighting):
    """Minimise L_retain subject to L_forget ≤ bound; the forget weight is the dual variable λ.

        w_retain = 1,  w_forget = λ,  and after each step  λ ← clip(λ + step·(L_forget − bound),
        0, most)

    The forget-side dual of SAUL, as λ ← [λ + μ·(level − NLL_forget)]₊: under ascent L_forget is
    minus the NLL, and bound minus the level. λ grows for as long as too little is forgotten and
    sinks, at last to pure retaining, once more is than was asked for: ascent gets the end that it
    lacks. `primal_dual` is the other way round.

    Where we differ: we have its update rule and not its authors' code, so the defaults are ours; λ
    has an upper limit, as a bound that cannot be reached would else let it grow without end; and
    the bound may be left to the first step, as one number does not fit all models.

    The direction turns with the scale of either loss, and no sign is kept. `losses` (2,) float64,
    retain first; the Gramian is not used. Raises ConfigurationError.
    """

    examples = ("method.weighting.drop=5", "method.weighting.bound=-4")

    bound: float | None = option(None, Range("any finite number, or null", math.isfinite))
    """Largest allowed forget loss, in its own unit; under ascent minus the NLL, so -4 asks for 4
    nats a token; null = `drop` below what it is at the first step."""
    drop: float = option(3.0, ABOVE_ZERO)
    """How far the forget loss is to fall; used where `bound` is null."""
    step: float = option(0.1, ABOVE_ZERO)
    """Growth of λ a step and unit of excess, μ."""
    start: float = option(1.0, Range("0 to `most`", most=1e30))
    """λ, the forget weight, at the first step."""
    most: float = option(
        100.0, Range("above 0, up to 1e30", lambda value: 0 < value <= 1e30, most=1e30)
    )
    """Upper limit of λ."""

    def __post_init__(self) -> None:
        refuse(*range_problems(self))
        beside_most = Range(f"0 to most ({self.most})", lambda s: 0 <= s <= self.most, most=1e30)
        refuse(beside_most.problem("start", self.start))
        self._dual = self.start
        self._bound = self.bound

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        forget_loss = losses[1].item()
        if self._bound is None:
            self._bound = forget_loss - self.drop
        weights = 1.0, self._dual
        self._dual = min(max(self._dual + self.step * (forget_loss - self._bound), 0.0), self.most)
        return weights

    def state_dict(self) -> dict[str, Any]:
        return {"dual": self._dual, "bound": self._bound}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._dual, self._bound = state["dual"], state["bound"]
