"""SAGO: in every element the retain gradient where the signs conflict, else the forget gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unlearn.options.beside import Beside
from unlearn.training.direction import Direction
from unlearn.training.interventions.base import Intervention


@dataclass
class SAGO(Intervention):
    """Replace the combined gradient, element by element: w_R·r where r·f < 0, else w_F·f.

    Xiao et al., ACL 2026, arXiv 2604.14808 (sign-aligned gradient optimization). r and f are the
    gradients of the two losses being minimised, w_R and w_F the weights of the method's weighting;
    so no element ever moves against the retain gradient. As in the authors' code a zero conflicts
    with nothing: where f is zero, nothing moves, whatever r is.

    Where we differ from the authors' code: their weights are fixed numbers (α and γ, here
    `method=graddiff`, ½ and ½); any weighting may give them here. Needs both gradients: one more
    in memory, and no pass through the model.
    """

    needs = "both tasks"
    examples = ("method=graddiff",)
    needs_both = True
    of_parts = True

    def problems_beside(self, method: Beside) -> list[str]:
        if method.forget.trains and method.retain.trains:
            return []
        return ["chooses between the gradients of both tasks, and one of the two is left out"]

    @torch.no_grad()
    def direct(self, direction: Direction) -> None:
        assert direction.both is not None
        w_retain, w_forget = direction.weights
        for d, r, f in zip(direction.gradient, *direction.both, strict=True):
            if d is None:
                continue
            if f is None:
                d.zero_()
            elif r is None:
                d.copy_(w_forget * f)
            else:
                conflict = r.sign() * f.sign() < 0  # the product of two small ones would be zero
                d.copy_(torch.where(conflict, w_retain * r, w_forget * f))
