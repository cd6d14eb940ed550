"""Sums over the answer of each row, and the loss that preference objectives make of them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.chunks import answer_losses


def row_sums(model: LanguageModel, batch: Batch) -> Tensor:
    """Return S = Σ ℓ over the answer of every row, (B,) float32 with gradient."""
    losses, _ = answer_losses(model, batch)
    return by_row(losses, batch)


def by_row(values: Tensor, batch: Batch) -> Tensor:
    """Return the sums (B,) of what each answer token of a batch has (N,)."""
    # Spread over (B, T) and summed in order: adding by index has no fixed order on a GPU.
    table = values.new_zeros(batch.answer_mask.shape)
    return table.index_put((batch.owner, batch.columns), values).sum(dim=1)


def preference_loss(margins: Tensor, beta: float) -> Tensor:
    """Return −(2/β)·Σ log σ(β·margin) of margins (B,); 2/β makes the slope at zero −1 for all β."""
    return -2 / beta * F.logsigmoid(beta * margins).sum()
