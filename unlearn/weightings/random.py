"""Random loss weighting (RLW): the baseline that every dynamic weighting has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unlearn.options.declared import SEED, option
from unlearn.weightings.base import Weighting


@dataclass
class RandomWeighting(Weighting):
    """Draw the weights anew at every step: (w_retain, w_forget) = softmax(z), z ~ N(0, 1)².

    Lin et al. 2021, arXiv 2111.10603 (RLW, normal distribution). Neither Gramian nor losses are
    used, and no sign is kept. The draws come from a generator of its own on the CPU: the same on
    every device, and nobody else's random numbers change. Its state is kept, so that a resumed run
    goes on with the draw that is next.

    Raises ConfigurationError.
    """

    seed: int = option(0, SEED, "${seed}")
    """Seed of the draws."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._generator = torch.Generator().manual_seed(self.seed)

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        draws = torch.randn(2, dtype=torch.float64, generator=self._generator)
        retain, forget = draws.softmax(0).tolist()
        return retain, forget

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"].cpu())
