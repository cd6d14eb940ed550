"""Primal-dual weighting: forget as hard as a bound on the retain loss allows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.options.declared import ZERO_OR_MORE, option
from unlearn.weightings.dual import BOUND, Dual


@dataclass
class PrimalDual(Dual):
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

    bound: float | None = option(None, BOUND)
    """Largest allowed retain loss, in its own unit (nats a token for NLL); null = `slack` above
    what it is at the first step."""
    slack: float = option(0.1, ZERO_OR_MORE)
    """Room above the first retain loss; used where `bound` is null."""

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        retain_loss = losses[0].item()
        return self.dual_of(retain_loss, retain_loss + self.slack), 1.0
