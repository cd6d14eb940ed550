"""What tests of the output layer share: architectures that change its logits, and a counter."""

from __future__ import annotations

from typing import Any

import transformers as hf
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from support import tiny

ENTRIES = len(tiny.tokenizer())
SHAPE: dict[str, Any] = {
    **tiny.vocabulary(),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
FINISHED = {
    "gemma2, soft cap": lambda: hf.Gemma2Config(**SHAPE, head_dim=16, final_logit_softcapping=2.0),
    "granite, divisor": lambda: hf.GraniteConfig(**SHAPE, logits_scaling=3.0),
    "cohere, factor": lambda: hf.CohereConfig(**SHAPE, logit_scale=0.3),
}
"""Architectures that do something to what their output layer gives."""


class Widest(TorchDispatchMode):
    """Keeps how many tokens' logits are the most in one tensor."""

    tokens = 0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width  # of the model, as the layer's own weight is turned over

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.dim() > 1 and found.shape[-1] == ENTRIES:
            tokens = found.numel() // ENTRIES
            self.tokens = max(self.tokens, tokens * (tokens != self.width))
        return found
