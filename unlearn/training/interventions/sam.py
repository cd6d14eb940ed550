"""SAM: the forget gradient taken where the forget loss is worst near by, to forget more firmly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from unlearn.compute.gradients import inner_product
from unlearn.options.beside import Beside
from unlearn.options.declared import ABOVE_ZERO, option
from unlearn.training.interventions.base import Intervention, Start, TaskAtStep


@dataclass
class SAM(Intervention):
    """Take the forget gradient at θ + ρ·f/‖f‖, where the forget loss is worst near by.

    Fan et al., ICML 2025, arXiv 2502.05374 (Unlearn-Smooth), after Foret et al. 2021: what is
    forgotten on a whole neighbourhood is harder to learn again. f is the forget gradient at the
    weights θ, ‖·‖ the norm over all parameters; the retain gradient is taken at θ as ever. A
    forward and a backward pass of the forget batch more; a copy of the weights for its duration.

    Where we differ from the authors' code: the weights come back from a copy, where theirs
    subtract what they added and keep its rounding; the loss of the record is that at θ, theirs is
    the one at the shifted point. Weights in bfloat16 round most of a small ρ away: refused here.
    """

    needs = "a forget task"
    examples = ("", "method=npo method.interventions.sam.rho=0.05")

    of_parts = True

    rho: float = option(0.01, ABOVE_ZERO)
    """Distance ρ of that point from the weights, in the norm over all of them."""

    def problems_beside(self, method: Beside) -> list[str]:
        if method.rounds:
            return ["moves the weights by less than model.dtype=bfloat16 tells apart; use float32"]
        if method.forget.trains:
            return []
        return ["takes the forget gradient elsewhere, but the forget task is left out"]

    def begin(self, start: Start) -> None:
        self.parameters = start.parameters

    @contextmanager
    def around(self, task: TaskAtStep) -> Iterator[None]:
        if task.name != "forget":
            yield
            return
        gradient = task.gradient()
        norm = inner_product(gradient, gradient).sqrt().item()
        weights = [parameter.detach().clone() for parameter in self.parameters]
        with torch.no_grad():
            for parameter, part in zip(self.parameters, gradient, strict=True):
                if part is not None and norm > 0:
                    parameter.add_(part, alpha=self.rho / norm)
        del gradient, part  # its memory is needed for the next one
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, weight in zip(self.parameters, weights, strict=True):
                    parameter.copy_(weight)
