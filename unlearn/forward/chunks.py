"""Losses of answer tokens without all their logits at once.

Logits of a large vocabulary are the largest tensor of a step, and a loss with its gradient holds
three of that size. Where one would be over a budget, the output layer sees the answers chunk by
chunk, and each chunk's logits are made once more on the way back (as checkpointing does): one more
product of the output layer instead of the memory. Below the budget nothing is cut or made twice.

N answer tokens of a batch, in row-major order; V entries of the vocabulary; H the model's width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from unlearn.compute.model import LanguageModel, vocabulary_of
from unlearn.data.batches import Batch
from unlearn.forward.answers import answer_logits, at_least_float32, behind, reading
from unlearn.forward.output_layer import (
    Finish,
    before_output_layer,
    can_be_asked_alone,
    finish_of,
    is_nothing,
)
from unlearn.forward.shared_pass import pass_for
from unlearn.forward.sum_in_chunks import OutputLayer, nll_sum_in_chunks

WHOLE, WHOLE_ON_A_GPU = 1 << 26, 1 << 28
"""Most logits that are made at once, of which a step holds up to three: 256 MiB, or 1 GiB."""
WHOLE_SUM = 1 << 23
"""The same where only the sum of the losses is asked for, on a CPU, since nothing is then made
twice. Both tasks of a step with 135M weights and 330 answers of 49152 logits took .97 of one with
whole logits, since the system hands out fewer pages; with 27M weights and 500 answers of 16384
logits it is as long."""
SUM, SUM_ON_A_GPU = 1 << 26, 1 << 28
"""Bytes of the logits of such a chunk, 64 or 256 MiB. Every chunk adds to the gradient of the whole
output layer in float32: of 800 answers with 131072 logits in bfloat16 and a width of 512, chunks of
64 tokens took 1.7 times whole logits on a CPU."""
CHUNK, CHUNK_ON_A_GPU = 1 << 23, 1 << 26
"""Logits of a chunk, where there are more: 32 MiB, or 256 MiB. Every chunk adds to the gradient of
the whole output layer, which takes a GPU as long as hundreds of tokens: on an H100 a step of 1.2B
in chunks of 65 tokens took 1.8 times that of the bare loop."""

TokenLoss = Callable[..., Tensor]
"""Of logits (n, V), labels (n,), logits (n, V) of the reference if there is one, and whatever has
one entry a token, to one value a token (n,)."""


def token_values(
    model: LanguageModel,
    batch: Batch,
    loss: TokenLoss,
    reference: LanguageModel | None = None,
    beside: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:
    """Return the loss of every answer token (N,), and its row number in the batch (N,).

    `reference` is a frozen model whose logits the loss takes as well; `beside` are tensors (N, …).
    """
    models = [model] if reference is None else [model, reference]
    if all(is_cut(one, batch) for one in models):
        return _in_chunks(models, batch, loss, beside)
    others = []
    if reference is not None:
        with torch.no_grad():
            others = [answer_logits(reference, batch)[0]]
    logits, labels, rows = answer_logits(model, batch)
    return loss(logits, labels, *others, *beside), rows


def answer_losses(model: LanguageModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the NLL of every answer token (N,) float32, and its row number in the batch (N,)."""
    return token_values(model, batch, partial(F.cross_entropy, reduction="none"))


def nll_sum(model: LanguageModel, batch: Batch) -> Tensor:
    """Return the NLL of all answer tokens together, () float32.

    Of too many logits the gradient of a chunk is taken while they are there, so that nothing is
    made twice (:mod:`unlearn.forward.sum_in_chunks`). The architecture may do nothing to them.
    """
    weights = getattr(model.get_output_embeddings(), "weight", None)
    if (
        weights is None
        or not is_cut(model, batch, only_sum=True)
        or not is_nothing(_finish_of(model, batch))
    ):
        return answer_losses(model, batch)[0].sum()
    one = pass_for(model, batch)
    states = _states(model, batch) if one is None else one.states(batch, partial(_states, model))
    if states is None:  # the other task has made the logits of both
        return answer_losses(model, batch)[0].sum()
    bias = getattr(model.get_output_embeddings(), "bias", None)
    labels = batch.input_ids[batch.owner, batch.columns]
    device = weights.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weights.dtype
    size = SUM_ON_A_GPU if device == "cuda" else SUM
    tokens = max(1, size // dtype.itemsize // vocabulary_of(model))
    layer = OutputLayer(weights, bias, dtype, tokens)
    return nll_sum_in_chunks(states, layer, labels)


def is_cut(model: LanguageModel, batch: Batch, only_sum: bool = False) -> bool:
    """Return whether the logits of a batch are too many, and this model's can be made in chunks.

    With `only_sum` for a loss that makes no logits twice.
    """
    on_cpu = WHOLE_SUM if only_sum else WHOLE
    whole = WHOLE_ON_A_GPU if batch.input_ids.device.type == "cuda" else on_cpu
    if batch.answer_tokens * vocabulary_of(model) <= whole:
        return False
    return can_be_asked_alone(model) and _finish_of(model, batch) is not None


def _in_chunks(
    models: Sequence[LanguageModel], batch: Batch, loss: TokenLoss, beside: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    states, finishes = [], [_finish_of(model, batch) for model in models]
    for place, model in enumerate(models):
        with torch.set_grad_enabled(torch.is_grad_enabled() and place == 0):
            states.append(_states(model, batch))
    labels = batch.input_ids[batch.owner, batch.columns]

    def chunk(*parts: Tensor) -> Tensor:
        made = []
        for place, (model, state) in enumerate(zip(models, parts, strict=False)):
            with torch.set_grad_enabled(torch.is_grad_enabled() and place == 0):
                finish = finishes[place]
                assert finish is not None  # is_cut asked for it
                made.append(at_least_float32(finish(model.get_output_embeddings()(state))))
        logits, *others = made
        labels, *more = parts[len(models) :]
        return loss(logits, labels, *others, *more)

    logits = CHUNK_ON_A_GPU if batch.input_ids.device.type == "cuda" else CHUNK
    size = max(1, logits // vocabulary_of(models[0]))
    parts = zip(*(tensor.split(size) for tensor in (*states, labels, *beside)), strict=True)
    values = [
        checkpoint(chunk, *part, use_reentrant=False, preserve_rng_state=False) for part in parts
    ]
    return torch.cat(values), batch.owner


def _states(model: LanguageModel, batch: Batch) -> Tensor:
    """Return what enters the output layer at the answers (N, H)."""
    inputs, positions = reading(model, batch)
    return before_output_layer(model, {**inputs, **behind(None)}, positions)


def _finish_of(model: LanguageModel, batch: Batch) -> Finish | None:
    return finish_of(model, partial(_states, model, batch))
