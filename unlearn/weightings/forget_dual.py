"""Forget-side dual: retain as well as a bound on the forget loss allows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.options.declared import ABOVE_ZERO, option
from unlearn.weightings.dual import BOUND, Dual


@dataclass
class ForgetDual(Dual):
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

    bound: float | None = option(None, BOUND)
    """Largest allowed forget loss, in its own unit; under ascent minus the NLL, so -4 asks for 4
    nats a token; null = `drop` below what it is at the first step."""
    drop: float = option(3.0, ABOVE_ZERO)
    """How far the forget loss is to fall; used where `bound` is null."""
    step: float = option(0.1, ABOVE_ZERO)
    """Growth of λ a step and unit of excess, μ."""

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        forget_loss = losses[1].item()
        return 1.0, self.dual_of(forget_loss, forget_loss - self.drop)
