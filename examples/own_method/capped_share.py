"""A weighting of one's own: the two unit gradients of NGDiff, shared out by how well they agree."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.errors import ConfigurationError
from unlearn.weightings import Weighting


@dataclass
class CappedShare(Weighting):
    """Weigh the unit gradients by c and 1 − c, where c grows with their agreement.

    c = least + (1 − least)·max(0, cos θ) of the two gradients that are minimised: where both point
    the same way, one step serves both, and retain may have it all.
    """

    least: float = 0.5
    """c where the gradients do not agree, within [0, 1]."""

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise ConfigurationError(f"least: {self.least}; allowed: 0 to 1")

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        retain, forget = gramian.diagonal().clamp(min=0).sqrt().tolist()  # the two norms
        if retain == 0 or forget == 0:
            return float(retain > 0), float(forget > 0)
        cosine = gramian[0, 1].item() / (retain * forget)
        share = self.least + (1 - self.least) * max(0.0, min(1.0, cosine))
        return share / retain, (1 - share) / forget
