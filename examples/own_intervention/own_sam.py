"""An intervention of one's own (SAM): the forget gradient where its loss is worst near by."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from unlearn.training.interventions import Intervention, Start, TaskAtStep


@dataclass
class OwnSAM(Intervention):
    rho: float = 0.01

    def begin(self, start: Start) -> None:
        self.parameters = start.parameters

    @contextmanager
    def around(self, task: TaskAtStep) -> Iterator[None]:
        weights = [p.detach().clone() for p in self.parameters]
        parts = task.gradient() if task.name == "forget" else [None] * len(weights)
        length = sum(float(g.norm()) ** 2 for g in parts if g is not None) ** 0.5
        try:
            for p, g in zip(self.parameters, parts, strict=True):
                if g is not None and length > 0:
                    p.data.add_(g, alpha=self.rho / length)
            yield
        finally:
            torch._foreach_copy_([p.data for p in self.parameters], weights)
