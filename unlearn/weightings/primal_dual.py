"""Primal-dual weighting: forget as hard as a bound on the retain loss allows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unlearn.options.declared import ABOVE_ZERO, ZERO_OR_MORE, Range, option, range_problems, refuse
from unlearn.weightings.base import Weighting


@dataclass
class PrimalDual(Weighting):
    """Minimise L_forget subject to L_retain ≤ bound; the retain weight is the dual variable λ.

        w_retain = λ,  w_forget = 1,  and after each step  λ ← clip(λ + step·(L_retain − bound),
        0, most)

    Gradient descent on the weights of the model and ascent on λ, both on the Lagrangian L_forget +
    λ·(L_retain − bound): λ grows for as long as the bound is broken and sinks while there is room.
    The idea for language models: Entesari et al. 2025, *Constrained Entropic Unlearning*, arXiv
    2506.05314 (PDU), with a forget loss of their own; here it goes with any.

    Different from their code: λ has an upper limit, as ascent has no floor and λ would else grow
    without end once the bound cannot be kept; and the bound may be left to the first step, as one
    number does not fit all models. Their warm-up and their update once an epoch are left out.

    The direction turns with the scale of either loss, and no sign is kept. `losses` (2,) float64,
    retain first; the Gramian is not used. Raises ConfigurationError.
    """

    examples = ("method.weighting.slack=0.2",)

    bound: float | None = option(
        None,
        Range("any finite number, or null", math.isfinite),
    )
    """Largest allowed retain loss, in its own unit (nats a token for NLL); null = `slack` above
    what it is at the first step."""
    slack: float = option(0.1, ZERO_OR_MORE)
    """Room above the first retain loss; used where `bound` is null."""
    step: float = option(1.0, ABOVE_ZERO)
    """Growth of λ a step and unit of excess."""
    start: float = option(1.0, Range("0 to `most`", most=1e30))
    """λ, the retain weight, at the first step."""
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
        retain_loss = losses[0].item()
        if self._bound is None:
            self._bound = retain_loss + self.slack
        weights = self._dual, 1.0
        self._dual = min(max(self._dual + self.step * (retain_loss - self._bound), 0.0), self.most)
        return weights

    def state_dict(self) -> dict[str, Any]:
        return {"dual": self._dual, "bound": self._bound}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._dual, self._bound = state["dual"], state["bound"]
