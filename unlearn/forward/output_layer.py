"""The output layer of a model: which positions it sees, and what the architecture makes of it.

M positions whose next tokens are asked for; H the model's width; V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from unlearn.compute.model import LanguageModel, plain_output
from unlearn.compute.sharding import is_sharded_model

Positions = Tensor | tuple[Tensor, Tensor]
"""(B, T) bool, or rows and columns (M,)."""
Finish = Callable[[Tensor], Tensor]
"""What an architecture does to the output of its output layer, element by element."""

_finishes: WeakKeyDictionary[Any, Finish | None] = WeakKeyDictionary()


@contextmanager
def output_layer_sees_only(model: LanguageModel, positions: Positions) -> Iterator[None]:
    """Let `positions` reach the output layer, as (1, M, H).

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


def before_output_layer(
    model: LanguageModel, inputs: Mapping[str, Any], positions: Positions
) -> Tensor:
    """Return what enters the output layer at the positions (M, H), of one call of the model."""
    kept: list[Tensor] = []

    def select(_module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        kept.append(inputs[0][positions])  # (M, H)
        return (kept[0][None, :1], *inputs[1:])

    def keep(_module: Any, _inputs: Any, output: Tensor) -> None:
        kept.append(output[0])  # (1, V)

    layer = model.get_output_embeddings()
    handles = [layer.register_forward_pre_hook(select), layer.register_forward_hook(keep)]
    try:
        logits = model(**inputs, **plain_output(model)).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    states, raw, *more = kept
    if model not in _finishes:
        known = _known_finishes(model.config.get_text_config())
        same = (finish for finish in known if torch.equal(finish(raw).to(logits.dtype), logits))
        _finishes[model] = None if more else next(same, None)  # more: it calls the layer again
    return states


def finish_of(model: LanguageModel, look: Callable[[], object]) -> Finish | None:
    """Return what happens to the output of the output layer, found out once a model.

    Known are nothing at all, a factor, a divisor and a soft cap: the first whose result for one
    token is the model's own to the bit is taken. None where it is something else. `look` asks for
    what is :func:`before_output_layer`, and is called where nobody has asked for that yet.
    """
    if model not in _finishes:
        with torch.no_grad():
            look()
    return _finishes[model]


def can_be_asked_alone(model: LanguageModel) -> bool:
    """Return whether the output layer gives its logits outside a call of the model.

    Sharded weights are whole, and an adapter is on or off, only while the model itself is called;
    and what happens behind the layer has to be known, or not to have been looked for yet.
    """
    weights = model.get_output_embeddings().named_parameters()
    if is_sharded_model(model) or any("lora_" in name for name, _ in weights):
        return False
    return _finishes.get(model, _nothing) is not None


def is_nothing(finish: Finish | None) -> bool:
    """Return whether the logits are the output of the output layer."""
    return finish is _nothing


def _nothing(raw: Tensor) -> Tensor:
    return raw


def _known_finishes(config: Any) -> list[Finish]:
    found: list[Finish] = [_nothing]
    if cap := getattr(config, "final_logit_softcapping", None):
        found.append(lambda raw: torch.tanh(raw / cap) * cap)
    scales = (getattr(config, name, None) for name in ("logit_scale", "lm_head_multiplier"))
    found += [partial(torch.mul, other=scale) for scale in scales if isinstance(scale, float | int)]
    if divisor := getattr(config, "logits_scaling", None):
        found.append(lambda raw: raw / divisor)
    return found
