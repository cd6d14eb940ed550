"""Linear scalarization: fixed weights c and 1 − c."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.options.declared import SHARE, option
from unlearn.weightings.base import Weighting


@dataclass
class Linear(Weighting):
    """Weigh retain by c and forget by 1 − c, the static baseline of the NGDiff paper.

    c = 1 is descent on retain alone ("GD"), c = 0 ascent on forget alone ("GA"), c = ½ GradDiff
    (Liu et al. 2022; TOFU, Maini et al. 2024), which is usually written with weights 1 and 1: half
    of that, so GradDiff's published learning rates are to be doubled here.
    """

    examples = ("method.weighting.retain_share=0.7",)

    retain_share: float = option(0.5, SHARE, "${..retain_share}")
    """The share c of retain: 1 = retain only, 0 = forget only; the preset's, or ½."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fixed = (self.retain_share, 1 - self.retain_share)

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        return self.retain_share, 1 - self.retain_share
