"""HAMU-Q: a promised share of the steepest forgetting, at the least cost to retaining."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from unlearn.options.declared import SHARE, option
from unlearn.weightings.base import Weighting
from unlearn.weightings.ngdiff import SMALLEST_NORM

SMALLEST_SINE = 1e-6
"""Below this sine of their angle two gradients are on one line, up to rounding."""


@dataclass
class HAMUQ(Weighting):
    """Among unit directions with d·f ≥ gain·‖f‖ take the one that lowers the retain loss most.

        cos(r, f) ≥ gain:  d = r/‖r‖
        else:              d = gain·f/‖f‖ + √(1 − gain²)·r⊥/‖r⊥‖,  r⊥ = r − (r·f/‖f‖²)·f

    Chen, Niu et al., ICML 2026, arXiv 2606.02119 (hardness-aware multi-objective unlearning, the
    variant that promises forget quality), r and f the gradients of the two losses being minimised.
    The forget loss falls to first order, by at least that share of what the steepest step of this
    length would do; the retain loss falls wherever cos(r, f) ≥ −√(1 − gain²), and no direction with
    that promise costs it less. Every direction has length 1, whatever the scale of either loss.

    Where we differ: the promise is a share of ‖f‖, where theirs is a number of nats a step, which
    no step of a radius may reach; and it is made for all parameters at once, where theirs is parted
    among the tensors (their `full_grad` has one angle as ours). Their tests for stopping are left
    out. A gradient that is zero leaves the step to the other one.
    """

    gain: float = option(0.5, SHARE)
    """Share of the steepest decrease of the forget loss that every step must have."""

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        norms = gramian.diagonal().clamp(min=0).sqrt().tolist()
        retain_norm, forget_norm = norms
        if min(norms) <= SMALLEST_NORM:
            retain, forget = (1 / norm if norm > SMALLEST_NORM else 0.0 for norm in norms)
            return retain, forget
        cosine = max(-1.0, min(1.0, gramian[0, 1].item() / (retain_norm * forget_norm)))
        if cosine >= self.gain:
            return 1 / retain_norm, 0.0
        sine = math.sqrt((1 - cosine) * (1 + cosine))
        if sine <= SMALLEST_SINE:  # nothing of r is orthogonal to f
            return 0.0, self.gain / forget_norm
        across = math.sqrt(1 - self.gain**2) / sine
        return across / retain_norm, (self.gain - across * cosine) / forget_norm
