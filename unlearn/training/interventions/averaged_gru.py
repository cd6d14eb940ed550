"""GRU with its average: the forget gradient without what would raise the retain loss of late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from unlearn.compute.gradients import Gradient, inner_product
from unlearn.compute.sharding import put_
from unlearn.options.beside import Beside
from unlearn.options.declared import Range, option
from unlearn.training.direction import Direction
from unlearn.training.interventions.base import Intervention, Start


@dataclass
class GRU(Intervention):
    """Take from f its part along r̄ where the two conflict, r̄ a moving average of r.

        r̄ ← γ·r + (1 − γ)·r̄,    r̄·f < 0:  f ← f − (r̄·f/‖r̄‖²)·r̄

    Wang et al., ICML 2025, arXiv 2503.09117 (gradient rectified unlearning). r and f are the
    gradients of the two losses being minimised; the method's weighting still says how much of r and
    of f the direction has, and with `method=ga`, which has nothing of r, this is the authors'. One
    retain batch is a noisy witness of what retaining asks for; the average is of the last few.

    Where we differ: the average lies where the weights do, theirs on the CPU; and a retain task may
    have a weight of its own here. Needs both gradients and the average: two more in memory, and no
    pass through the model.
    """

    needs = "both tasks"
    examples = ("method=ga", "method=graddiff method.interventions.gru.gamma=0.5")
    needs_both = True
    of_parts = True

    gamma: float = option(0.8, Range("above 0 up to 1", lambda value: 0 < value <= 1))
    """γ, the weight of this step's retain gradient in the average; 1: no average."""

    def problems_beside(self, method: Beside) -> list[str]:
        if method.forget.trains and method.retain.trains:
            return []
        return ["compares the gradients of both tasks, and one of the two is left out"]

    def begin(self, start: Start) -> None:
        self.parameters: Sequence[Parameter] = start.parameters
        self.average: Gradient = [None for _ in start.parameters]

    @torch.no_grad()
    def direct(self, direction: Direction) -> None:
        assert direction.both is not None
        retain, forget = direction.both
        pairs = zip(self.average, retain, strict=True)
        self.average = [self._averaged(before, part) for before, part in pairs]
        inner = inner_product(self.average, forget).item()
        square = inner_product(self.average, self.average).item()
        if inner >= 0 or square == 0:
            return
        share = direction.weights[1] * inner / square
        for place, average in enumerate(self.average):
            d = direction.gradient[place]
            if average is not None and d is not None:
                d.sub_(average, alpha=share)

    def _averaged(self, before: Tensor | None, part: Tensor | None) -> Tensor | None:
        """Return the average anew: the one before may be on its way into a checkpoint."""
        if before is None:
            return None if part is None else self.gamma * part
        older = (1 - self.gamma) * before
        return older if part is None else older.add_(part, alpha=self.gamma)

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average = [None for _ in self.parameters]
        for place, part in enumerate(state["average"]):
            if part is not None:
                self.average[place] = average = torch.zeros_like(self.parameters[place])
                put_(average, part)
