"""What this package asks of a causal language model; every one of transformers has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import Parameter


class LanguageModel(Protocol):
    """A causal language model as transformers' `AutoModelForCausalLM` returns it.

    A call takes ids (B, T) and a mask, and returns an object with `logits` (B, T, V) and, where it
    was asked to remember, `past_key_values`.
    """

    config: Any
    generation_config: Any
    training: bool

    @property
    def device(self) -> torch.device: ...

    def __call__(self, **inputs: Any) -> Any: ...

    def parameters(self) -> Iterator[Parameter]: ...

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]: ...

    def buffers(self) -> Iterator[Tensor]: ...

    def modules(self) -> Iterator[nn.Module]: ...

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]: ...

    @property
    def base_model(self) -> nn.Module: ...

    def get_input_embeddings(self) -> Any: ...

    def get_output_embeddings(self) -> Any: ...

    def get_submodule(self, target: str) -> nn.Module: ...

    def state_dict(self, **options: Any) -> Mapping[str, Any]: ...

    def requires_grad_(self, requires_grad: bool = True) -> Self: ...

    def eval(self) -> Self: ...

    def train(self, mode: bool = True) -> Self: ...

    def to(self, device: torch.device) -> Self: ...

    def generate(self, input_ids: Tensor, **options: Any) -> Tensor: ...

    def gradient_checkpointing_enable(self, options: dict[str, Any]) -> None: ...

    def save_pretrained(self, folder: Path, **options: Any) -> None: ...


def plain_output(model: LanguageModel) -> dict[str, bool]:
    """Return what a call is given so that it returns logits and cache, whatever its configuration.

    With `output_router_logits` a mixture of experts also computes the balance of its experts, for
    which it wants a mask as wide as its input, which a cache does not leave.
    """
    router = getattr(model.config.get_text_config(), "output_router_logits", None)
    return {} if router is None else {"output_router_logits": False}


POSITIONS = ("max_position_embeddings", "max_seq_len", "context_length", "n_positions", "n_ctx")
"""What architectures call the longest sequence that they were made for."""


def positions_of(config: Any) -> int | None:
    """Return the most tokens of a sequence by the model's configuration; None where any length."""
    config = config.get_text_config()
    found = (getattr(config, name, None) for name in POSITIONS)
    return next((int(n) for n in found if isinstance(n, int) and n >= 8), None)


def own_parameters(model: LanguageModel) -> list[Parameter]:
    """Return the weights of the model itself; those of an adapter in it are left out."""
    return [weight for name, weight in model.named_parameters() if ".lora_" not in name]


def vocabulary_of(model: LanguageModel) -> int:
    """Return the entries V of the vocabulary; 0 for a model that does not say it."""
    return int(getattr(model.config.get_text_config(), "vocab_size", 0))
