"""What an evaluation must give, computed naively: one row at a time, from the full logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from support import tiny
from support.tiny import PAD
from unlearn.evaluation.scoring import Scored

MOST = 24
"""Tokens of a generated answer."""


@torch.no_grad()
def score_alone(model: Any, answer: Scored) -> tuple[float, int]:
    """Summed NLL and hits of one answer, from the full logits of one row."""
    prompt, ids = answer.example.prompt, answer.example.answer
    logits = model(input_ids=torch.tensor([prompt + ids])).logits[0].float()
    predicting = logits[len(prompt) - 1 : -1]
    log_probabilities = predicting.log_softmax(-1)[range(len(ids)), list(ids)]
    return -log_probabilities.double().sum().item(), int(
        (predicting.argmax(-1) == torch.tensor(ids)).sum()
    )


def generated_by_transformers(model: Any, prompt: Sequence[int], most: int) -> str:
    """The greedy answer to one prompt alone, by transformers' own loop."""
    ids = torch.tensor([prompt])
    whole = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=most,
        pad_token_id=PAD,
    )
    answer = whole[0, len(prompt) :]
    return tiny.tokenizer().decode(answer, skip_special_tokens=True).strip()
