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

    def gradient_checkpointing_enable(self, options: dict[str, Any]) -> None: ...

    def save_pretrained(self, folder: Path, **options: Any) -> None: ...
