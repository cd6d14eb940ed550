"""Answer preservation: on the retain rows the answer stays likelier than a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.data.splits import Row
from unlearn.objectives.beside_refusal import BesideRefusal
from unlearn.objectives.other_answers import require_questions
from unlearn.objectives.row_sums import preference_loss, row_sums
from unlearn.options.declared import ABOVE_ZERO, SEED, option


@dataclass
class AnswerPreservation(BesideRefusal):
    """Keep retain answers ahead of refusals: −(1/β)·mean over rows of log σ(β(S_idk − S)).

    Yuan et al., ICLR 2025, arXiv 2410.08109 (AP), the retain side of a model that is taught to
    refuse: without it the refusals spread. S (B,) is the NLL of a row's whole answer, S_idk that of
    a refusal as the answer to the same question. The gradient of a row is that of S − S_idk times
    σ(−β(S_idk − S)): 1 where the refusal is much likelier, ½ where both are alike, 0 once the
    answer is far ahead. Two forward passes a batch, and nothing of the target.

    Where we deviate: the refusal belongs to the retain row; in the authors' code it belongs to the
    forget row that the retain row is paired with.
    """

    one_pass = True

    needs = "questions (no plain text)"
    examples = ("method=idk method.retain.beta=0.5",)

    beta: float = option(0.1, ABOVE_ZERO)
    """Inverse temperature β: the larger, the sooner a row is left alone."""
    seed: int = option(0, SEED, "${seed}")
    """Seed of the draw of one refusal a row; no other draw depends on it."""

    def check_rows(self, rows: Sequence[Row]) -> None:
        require_questions(rows, "method.retain", "nll, kl, jensen_shannon")

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        ahead = row_sums(model, self.refusals.batch(batch)) - row_sums(model, batch)
        return preference_loss(ahead, self.beta) / 2
