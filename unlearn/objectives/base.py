"""What an objective is."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unlearn.data.batches import Batch


class Objective:
    """A loss to minimise, as a sum over tokens (default) or rows, and the count to divide it by."""

    def count(self, batch: Batch) -> int:
        """Return what the sum is averaged over; known without a model, so before any backward."""
        return batch.answer_tokens

    def shown(self, loss: float) -> float:
        """Return the value that the record shows for a mean loss: NLL-like and positive."""
        return loss

    def sum(self, model: Any, batch: Batch) -> Tensor:
        """Return the loss summed over the batch, float32 scalar with gradient."""
        raise NotImplementedError
