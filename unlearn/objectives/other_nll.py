"""Learn another answer to each forget question; the objectives say which, and at what loss."""

from __future__ import annotations

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.chunks import answer_losses
from unlearn.objectives.base import Objective, Resources
from unlearn.objectives.other_answers import OtherAnswers


class OtherNLL(Objective):
    """Mean over the tokens of the other answers, end tokens included; ℓ where nothing else is said.

    The answers that must go are never looked at.
    """

    def answers(self, rows: int) -> list[str]:
        """Return the answer that each of the task's rows is taught."""
        raise NotImplementedError

    def of_tokens(self, losses: Tensor) -> Tensor:
        """Return what is averaged, from the NLL ℓ of each token (N,)."""
        return losses

    def prepare(self, resources: Resources, other: Objective) -> None:
        self.other = OtherAnswers(resources, self.answers(len(resources.examples)))

    def count(self, batch: Batch) -> int:
        return self.other.tokens(batch)

    def tokens(self, batch: Batch) -> int:
        return self.other.all_tokens(batch)

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        losses, _ = answer_losses(model, self.other.batch(batch))
        return self.of_tokens(losses).sum()
