"""Linear scalarization: fixed weights c and 1 − c."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.errors import ConfigurationError
from unlearn.weightings.base import Weighting


@dataclass
class Linear(Weighting):
    """Weigh retain by c and forget by 1 − c, the static baseline of the NGDiff paper.

    c = 1 is descent on retain alone ("GD"), c = 0 ascent on forget alone ("GA"), c = ½ GradDiff
    (Liu et al. 2022; TOFU, Maini et al. 2024), which is usually written with weights 1 and 1: half
    of that, so GradDiff's published learning rates are to be doubled here.
    """

    retain_share: float = 0.5
    """c, within [0, 1]."""

    def __post_init__(self) -> None:
        if not 0 <= self.retain_share <= 1:
            raise ConfigurationError(
                f"retain_share: {self.retain_share} is out of range; allowed: 0 to 1 "
                "(1 = retain only, 0 = forget only)"
            )
        self.fixed = (self.retain_share, 1 - self.retain_share)

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        return self.retain_share, 1 - self.retain_share
