"""Negative preference optimization: ascent that fades, row by row, as the row is forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.objectives.base import Objective, Resources
from unlearn.objectives.row_sums import preference_loss, row_sums
from unlearn.options.declared import ABOVE_ZERO, option


@dataclass
class NPO(Objective):
    """Make each answer less likely than it was: −(2/β)·mean over rows of log σ(β(S − S_ref)).

    Zhang et al. 2024, arXiv 2404.05868, Equation 3. S (B,) is the NLL of a row's whole answer,
    S_ref the same under the target. The gradient of a row is that of ascent on S times
    2σ(−β(S − S_ref)): 1 at the target whatever β is, 0 once the row is far from it; β → 0 is
    ascent throughout. The loss starts at (2/β)·log 2 and falls to zero.

    Where we deviate: S_ref is scored once before the first step and kept, where the authors run
    the target in every step.
    """

    one_pass = True

    examples = ("method.forget.beta=0.5",)

    beta: float = option(0.1, ABOVE_ZERO)
    """Inverse temperature β: the larger, the sooner a row is left alone."""

    def prepare(self, resources: Resources, other: Objective) -> None:
        self.reference = resources.target_sums(resources.examples)  # (N,)

    def count(self, batch: Batch) -> int:
        return batch.size

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        return preference_loss(row_sums(model, batch) - self.reference[batch.rows], self.beta)
