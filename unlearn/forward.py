"""The one place that calls the model with an answer to predict.

The output layer sees answer positions only: with a vocabulary of 128k its logits are the largest
tensor of a step, and the prompt's share of them would be thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn.data.batches import Batch


@contextmanager
def _output_layer_sees_only(model: Any, positions: Tensor) -> Iterator[None]:
    """Let `positions` (B, T) bool reach the output layer, flattened to (1, N, hidden).

    A hook instead of a call of the layer keeps whatever else the architecture does to its logits
    (soft caps, scaling) and works for every model with output embeddings.
    """

    def select(_module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0][positions].unsqueeze(0), *inputs[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


def answer_logits(model: Any, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (N, V) float32, labels (N,), and row number in the batch (N,).

    N = answer tokens of the batch, in row-major order. Position t predicts token t + 1.
    """
    before_answer = torch.zeros_like(batch.answer_mask)
    before_answer[:, :-1] = batch.answer_mask[:, 1:]
    with _output_layer_sees_only(model, before_answer):
        output = model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
        )
    rows = before_answer.nonzero()[:, 0]
    return output.logits[0].float(), batch.input_ids[batch.answer_mask], rows


def answer_losses(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the NLL of every answer token (N,) float32, and its row number in the batch (N,)."""
    logits, labels, rows = answer_logits(model, batch)
    return F.cross_entropy(logits, labels, reduction="none"), rows
