"""PCGrad: project conflicting gradients onto each other's normal plane."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.weightings.base import Weighting


@dataclass
class PCGrad(Weighting):
    """Remove from each gradient its part along the other where the two conflict, and add them.

    Yu et al., NeurIPS 2020, arXiv 2001.06782, Algorithm 1. With q = g_retain·g_forget < 0

        w_retain = 1 − q/‖g_retain‖²,  w_forget = 1 − q/‖g_forget‖²,

    and 1, 1 where they do not conflict. The paper visits the tasks in random order; with two tasks
    the order does not matter, so nothing is drawn here.
    """

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        retain_square, forget_square = gramian.diagonal().tolist()
        inner = gramian[0, 1].item()
        if inner >= 0 or min(retain_square, forget_square) <= 0:
            return 1.0, 1.0
        return 1 - inner / retain_square, 1 - inner / forget_square
