"""One call of the model while it answers: prompts that are read together, or the next token.

B rows, T tokens of the longest prompt, P tokens of a start that all prompts share, V entries of the
vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from unlearn.compute.model import LanguageModel, plain_output
from unlearn.data.batches import PAD
from unlearn.forward.slots import OwnCache, Slots


class Start(Protocol):
    """Tokens that are read already, as many as its length."""

    def __len__(self) -> int: ...

    def kept(self, rows: int) -> Any:
        """Return the cache of so many rows that have each read them."""


def left_padded(prompts: Sequence[Sequence[int]], pad: int = PAD) -> tuple[Tensor, Tensor]:
    """Return ids (B, T) and attention mask (B, T) with padding ahead: all prompts end together."""
    ids = [torch.tensor(prompt) for prompt in prompts]
    real = [torch.ones_like(one) for one in ids]
    padded = partial(pad_sequence, batch_first=True, padding_side="left")
    return padded(ids, padding_value=pad), padded(real)


def read_prompts(
    model: LanguageModel, prompts: Sequence[Sequence[int]], start: Start | None
) -> tuple[Tensor, Any]:
    """Return the logits (B, V) behind every prompt, and the cache of P + T columns.

    All prompts begin with `start`, which is read already; padding stands between it and the rest.
    """
    ahead, past = 0, {}
    if start is not None:
        ahead, past = len(start), {"past_key_values": start.kept(len(prompts))}
    behind = left_padded([prompt[ahead:] for prompt in prompts])
    ids, mask = (tensor.to(model.device) for tensor in behind)
    mask = F.pad(mask, (ahead, 0), value=1)
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, ahead:],
        use_cache=True,
        logits_to_keep=1,
        **past,
        **plain_output(model),
    )
    return output.logits[:, -1], output.past_key_values


def read_tokens(
    model: LanguageModel, cache: Slots | OwnCache, begins: Sequence[int], tokens: Sequence[int]
) -> Tensor:
    """Add a token to every row, which begins at its column; return the logits (B, V) behind it."""
    end, device = cache.window.end, model.device
    first_columns = torch.tensor([[begin] for begin in begins], device=device)
    columns = torch.arange(cache.window.first, end + 1, device=device)
    output = model(
        input_ids=torch.tensor([[token] for token in tokens], device=device),
        attention_mask=(columns >= first_columns).long(),
        position_ids=end - first_columns,
        past_key_values=cache.cache,
        use_cache=True,
        logits_to_keep=1,
        **plain_output(model),
    )
    cache.window.end += 1
    logits: Tensor = output.logits[:, -1]
    return logits
