"""FLAT: from the forgotten answer to a refusal by an f-divergence, with forget rows alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import torch.nn.functional as F
from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.data.splits import Row
from unlearn.forward.chunks import answer_losses
from unlearn.objectives.beside_refusal import BesideRefusal
from unlearn.objectives.other_answers import require_questions
from unlearn.objectives.row_sums import by_row
from unlearn.options.declared import SEED, option


class Divergence(Enum):
    """The f-divergence between the two answers."""

    total_variation = "total_variation"
    kl = "kl"
    jensen_shannon = "jensen_shannon"
    pearson = "pearson"


Rising = Callable[[Tensor], Tensor]

FORMS: dict[Divergence, tuple[Rising, Rising]] = {
    Divergence.total_variation: (lambda x: x.tanh() / 2, lambda x: x.tanh() / 2),
    Divergence.kl: (lambda x: x, lambda x: (x - 1).exp()),
    Divergence.jensen_shannon: (lambda x: -F.softplus(-x), F.softplus),
    Divergence.pearson: (lambda x: x, lambda x: x + x.square() / 4),
}
"""g*, and f*(g*(·)), but for constants: the variational form of each divergence."""


@dataclass
class FLAT(BesideRefusal):
    """Mean over rows of f*(g*(P_forget)) − g*(P_refusal), plus what makes its least value zero.

    Wang et al., ICLR 2025, arXiv 2410.11143. P is the mean probability that the model gives the
    tokens of an answer, of the one that must go and of a refusal; f* and g* belong to the
    divergence that is maximised between them:

        total_variation: ½·tanh P_forget − ½·tanh P_refusal     kl: e^(P_forget − 1) − P_refusal
        jensen_shannon: log(1 + e^P_forget) + log(1 + e^−P_refusal)
        pearson: P_forget + P_forget²/4 − P_refusal

    Bounded on both sides, for probabilities are: no retain rows and no second model are needed for
    it to stop, and it is zero where the refusal is certain and no token of the answer possible.

    Where we deviate: the loss is of each row and then averaged, as the paper writes it; the
    authors' code averages P over a batch and its padding first, and so would change with the
    batch. Each row keeps the one refusal drawn for it.
    """

    needs = "questions (no plain text)"
    examples = ("method/retain=none method.forget.divergence=kl",)

    divergence: Divergence = Divergence.total_variation
    """The f-divergence that is maximised between refusal and answer."""
    seed: int = option(0, SEED, "${seed}")
    """Seed of the draw of one refusal a row; no other draw depends on it."""

    def check_rows(self, rows: Sequence[Row]) -> None:
        require_questions(rows)

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        gain, loss = FORMS[self.divergence]
        refused = _mean_probability(model, self.refusals.batch(batch))  # (B,)
        known = _mean_probability(model, batch)
        one, zero = refused.new_ones(()), refused.new_zeros(())
        return (gain(one) - gain(refused) + loss(known) - loss(zero)).sum()


def _mean_probability(model: LanguageModel, batch: Batch) -> Tensor:
    """Return the mean probability of the tokens of every row's answer, (B,) with gradient."""
    losses, _ = answer_losses(model, batch)
    return by_row((-losses).exp(), batch) / batch.answer_mask.sum(dim=1)
