"""Models of shapes that tiny.py does not have, and what enters a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers as hf

from support import tiny


def other_model(config: Any, attention: str = "sdpa") -> Any:
    """A random model of a shape that tiny.py does not have."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = hf.AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    return model.float().eval()


def with_window(window: int | None) -> Any:
    """A Mistral whose tokens see so many before them."""
    config = hf.MistralConfig(
        **tiny.vocabulary(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=window,
    )
    return other_model(config)


def with_alibi() -> Any:
    """A Falcon that knows positions by the distance of keys, which it reads from a plain mask."""
    config = hf.FalconConfig(
        **tiny.vocabulary(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        alibi=True,
    )
    return other_model(config)


@contextmanager
def counted_tokens(model: Any) -> Iterator[list[int]]:
    """Give a list that holds, for every call of the model, the tokens that entered it."""
    calls: list[int] = []
    handle = model.register_forward_pre_hook(
        lambda _module, _inputs, given: calls.append(given["input_ids"].numel()), with_kwargs=True
    )
    try:
        yield calls
    finally:
        handle.remove()
