"""A model of three tokens whose every probability is written down: examples by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PretrainedConfig

from unlearn.data.tokens import Example

TABLE = [[1 / 4, 1 / 2, 1 / 4], [1 / 8, 1 / 8, 3 / 4], [1 / 2, 3 / 10, 1 / 5]]
"""Row i: the probabilities of what follows token i."""
ORIGINAL = Example(prompt=(0,), answer=(1, 2, 0))  # p = 1/2, 3/4, 1/2: S = log(16/3)


class Lookup(nn.Module):
    """A language model that looks only at the last token: its logits are a row of a table."""

    config = PretrainedConfig()
    device = torch.device("cpu")

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.head = nn.Linear(len(logits), len(logits), bias=False)
        self.head.weight = nn.Parameter(logits.T.contiguous())

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        hidden = F.one_hot(input_ids, self.head.in_features).float()
        return SimpleNamespace(logits=self.head(hidden))
