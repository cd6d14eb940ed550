"""GRU: the forget gradient without what would raise the retain loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.options.declared import ZERO_OR_MORE, option
from unlearn.weightings.base import Weighting
from unlearn.weightings.ngdiff import SMALLEST_NORM


@dataclass
class GRU(Weighting):
    """Take from f its part along r where the two conflict: d = f − (min(r·f, 0)/‖r‖²)·r + c·r.

        w_retain = c − min(r·f, 0)/‖r‖²,  w_forget = 1

    Wang et al. 2025, arXiv 2503.09117 (gradient rectified unlearning), r and f the gradients of the
    two losses being minimised. At c = 0 no small step raises either loss: d·r = max(r·f, 0), and
    d·f = ‖f‖²·sin² of their angle where they conflict. c adds the retain task itself, as GradDiff
    has it.

    Where we differ: theirs is c = 0 and projects on a moving average of r, which no Gramian holds:
    that is `method/interventions=[gru]`. A retain gradient that is zero, by which they divide,
    leaves f.
    """

    examples = ("", "method.weighting.retain=1")

    retain: float = option(0.0, ZERO_OR_MORE)
    """c, the weight of the retain gradient besides what the projection asks for."""

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        retain_square, inner = gramian[0, 0].item(), gramian[0, 1].item()
        if inner >= 0 or retain_square <= SMALLEST_NORM**2:
            return self.retain, 1.0
        return self.retain - inner / retain_square, 1.0
