"""LossNorm: each loss divided by its own size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from unlearn.options.declared import Range, option
from unlearn.weightings.base import Weighting


@dataclass
class LossNorm(Weighting):
    """Divide each gradient by the magnitude of its loss, the dynamic baseline of the NGDiff paper.

        w_retain = 1/max(|L_retain|, floor),  w_forget = 1/max(|L_forget|, floor)

    Bu et al., NAACL 2025, arXiv 2410.22086; the share is c = |L_F|/(|L_R| + |L_F|). Magnitudes,
    because the loss that ascent minimises is minus the NLL. The losses count as constants, and the
    direction does not change with the scale of either; it may still raise the retain loss or lower
    the forget NLL. The paper knows no floor: without one a loss of zero (a retain KL at the first
    step) would multiply the rounding errors of its gradient without bound.

    `losses` (2,) float64, retain first; the Gramian is not used. Raises ConfigurationError.
    """

    # From 1e-30 on the weights stay within float32, which the gradients may be.
    floor: float = option(1e-4, Range("1e-30 or more", lambda value: 1e-30 <= value < math.inf))
    """Losses nearer to zero than this count as this, so that no weight exceeds 1/floor; in the
    unit of the losses (nats a token for NLL)."""

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        retain, forget = losses.abs().clamp(min=self.floor).tolist()
        return 1 / retain, 1 / forget
