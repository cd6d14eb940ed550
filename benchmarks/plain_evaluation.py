"""The evaluation that one would write with transformers alone: the loop that ours is measured by.

Rows in the order of the data set, so many a batch: a right-padded forward pass with all logits for
the scores, `generate` with left padding for the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from unlearn.compute.device import Compute
from unlearn.data.batches import collate
from unlearn.data.tokens import Example
from unlearn.forward.steps import left_padded


def parts(count: int, rows: int) -> list[range]:
    """Return the rows of each batch."""
    return [range(first, min(first + rows, count)) for first in range(0, count, rows)]


@torch.no_grad()
def plain_scores(
    model: Any, examples: Sequence[Example], pad: int, rows: int, compute: Compute
) -> list[float]:
    """Return the mean NLL a token of every answer, in nats."""
    means: list[float] = []
    for part in parts(len(examples), rows):
        batch = collate([examples[row] for row in part], part, pad).to(model.device)
        labels = batch.input_ids.masked_fill(~batch.answer_mask, -100)
        with compute.autocast:
            logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        # Flat, as transformers does it: along a middle dimension float32 loses 1e-4 nats a token.
        flat, wanted = logits[:, :-1].flatten(0, 1).float(), labels[:, 1:]
        losses = F.cross_entropy(flat, wanted.flatten(), reduction="none").view_as(wanted)
        means += (losses.sum(1) / batch.answer_mask.sum(1)).tolist()
    return means


@torch.no_grad()
def plain_answers(
    model: Any,
    prompts: Sequence[Sequence[int]],
    pad: int,
    ends: set[int],
    most: int,
    rows: int,
    compute: Compute,
) -> tuple[list[list[int]], int]:
    """Return the greedy answer to every prompt without its end, and the tokens computed for all.

    A row counts at every step of its batch, also when it has ended.
    """
    answers, computed = [], 0
    for part in parts(len(prompts), rows):
        ids, mask = (t.to(model.device) for t in left_padded([prompts[row] for row in part], pad))
        with compute.autocast:
            whole = model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=most,
                pad_token_id=pad,
                eos_token_id=sorted(ends),
            )
        computed += len(part) * (whole.shape[1] - 1)  # the last token is not read again
        for row in whole[:, ids.shape[1] :].tolist():
            end = next((place for place, token in enumerate(row) if token in ends), len(row))
            answers.append(row[:end])
    return answers, computed


def plain_padding(examples: Sequence[Example], rows: int) -> float:
    """Return the share of the scored tokens that is padding."""
    real = padded = 0
    for part in parts(len(examples), rows):
        lengths = [len(examples[row]) for row in part]
        real += sum(lengths)
        padded += max(lengths) * len(lengths)
    return 1 - real / padded
