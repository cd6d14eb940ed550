"""Hidden states kept where they were: what RMU asks of the retain rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.errors import ConfigurationError
from unlearn.forward.answers import hidden_states
from unlearn.objectives.base import Objective, Resources
from unlearn.options.beside import Beside


@dataclass
class HiddenState(Objective):
    """Mean squared error of h_L to the target's: ‖h_L − h_L,ref‖²/H, mean over answer tokens.

    Li et al. 2024 (WMDP), arXiv 2403.03218: the retain loss of RMU, at the layer L of the forget
    objective. h_L (N, H) as there; like it, 1/H of the squared norm that the paper writes. Zero,
    with its gradient, where unlearning starts. The target's layers above L are not run either.

    Raises ConfigurationError beside a forget objective that works on the output.
    """

    needs = "method/forget=rmu and memory for a second copy of the model"
    examples = ("method/forget=rmu scheduler=constant optimizer.lr=1e-5",)

    keeps_target = True
    zero_at_target = True

    def problems_beside(self, method: Beside) -> list[str]:
        problems = super().problems_beside(method)
        if method.retain is self and not method.forget.at_hidden_layer:
            problems.append(
                "hidden_state keeps the hidden layer that rmu moves, and method.forget is "
                f"{type(method.forget).__name__}; use method/forget=rmu, or method/retain=kl"
            )
        return problems

    def prepare(self, resources: Resources, other: Objective) -> None:
        if other.layer is None:
            raise ConfigurationError(
                f"method.retain: hidden_state keeps the layer that the forget objective moves, and "
                f"{type(other).__name__} moves none; allowed with it: method/forget=rmu; with any "
                "other: method/retain=kl"
            )
        self.layer = other.layer
        self.reference = resources.frozen_target()

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        assert self.layer is not None  # since `prepare`
        with torch.no_grad():
            reference = hidden_states(self.reference, batch, self.layer)
        states = hidden_states(model, batch, self.layer)
        return (states - reference).square().mean(dim=1).sum()
