"""The beginning that all prompts share, read once: a system turn, the examples of a quiz.

What a model remembers of it, keys and values, stands ahead of every batch. P tokens of the start,
B rows, H heads, T tokens behind the start, D numbers a head.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

from unlearn.compute.device import Compute
from unlearn.compute.memory import in_short
from unlearn.compute.model import LanguageModel, plain_output
from unlearn.console.once import say_once
from unlearn.data.batches import collate
from unlearn.data.tokens import Example
from unlearn.errors import first_line, lacks_memory
from unlearn.forward.answers import answer_logits
from unlearn.forward.slots import Slots, fits_slots, states_of
from unlearn.forward.steps import read_prompts, read_tokens

log = logging.getLogger(__name__)

LEAST_TOKENS, LEAST_PROMPTS = 8, 8
"""A shorter start, or one of fewer prompts, costs about as much as it saves."""

TOLERANCE = 1e-3
"""Nats by which the next token's log probabilities behind a start may differ, in float32."""


class PassingLayer(DynamicLayer):
    """Joins the start to what a layer sees and keeps nothing of it: scoring reads a row once."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.start = keys, values
        self.keys, self.values = keys, values

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Return keys and values of start and rows, (B, H, P + T, D) each."""
        keys, values = (states.expand(len(key_states), -1, -1, -1) for states in self.start)
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)


@dataclass(frozen=True)
class PrefixCache:
    """The tokens that every prompt begins with, and what the model remembers of them."""

    ids: tuple[int, ...]
    states: list[Tensor]
    """Keys and values of every layer in turn, (1, H, P, D) each."""

    def __len__(self) -> int:
        return len(self.ids)

    def behind(self, examples: Sequence[Example]) -> list[Example]:
        """Return what of each example stands behind the start."""
        return [Example(e.prompt[len(self) :], e.answer) for e in examples]

    def passing(self) -> Cache:
        """Return a cache for one pass over any number of rows, which stores none of them."""
        pairs = zip(self.states[::2], self.states[1::2], strict=True)
        return Cache(layers=[PassingLayer(*pair) for pair in pairs])

    def kept(self, rows: int) -> DynamicCache:
        """Return a cache of `rows` rows that each have read the start, and will be continued."""
        found = DynamicCache()
        pairs = zip(self.states[::2], self.states[1::2], strict=True)
        for layer, pair in enumerate(pairs):
            keys, values = (states.expand(rows, -1, -1, -1) for states in pair)
            found.update(keys, values, layer)
        return found


def common_start(prompts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the longest beginning of all prompts that leaves a token of each, which predicts."""
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    most = min(map(len, prompts)) - 1
    same = 0
    while same < most and first[same] == last[same]:
        same += 1
    return first[:same]


@torch.no_grad()
def prefix_cache(
    model: LanguageModel, prompts: Sequence[Sequence[int]], compute: Compute
) -> PrefixCache | None:
    """Return the start of all prompts, or None where sharing it does not pay or does not fit.

    It fits a model in float32 or float64 whose layers all attend to everything before them, and
    which predicts the same behind it: two prompts of unlike length are read both ways first, in
    float32, as scoring does and as answering does, with padding between the start and the rest.
    """
    unique = {tuple(prompt) for prompt in prompts}
    if len(unique) < LEAST_PROMPTS:
        return None
    ids = common_start(list(unique))
    if len(ids) < LEAST_TOKENS:
        return None
    if next(model.parameters()).dtype not in (torch.float32, torch.float64):
        return None
    try:
        reason = _reason_for_whole_prompts(model, ids, max(unique, key=len))
        if reason is None:
            return _read(model, ids, compute)
    except Exception as error:  # whatever an architecture makes of a cache that it did not fill
        short = in_short(error) if lacks_memory(error) else first_line(error)
        reason = f"{type(error).__name__}: {short}"
    say_once(log, f"{type(model).__name__} reads every prompt from its beginning: {reason}")
    return None


def _read(model: LanguageModel, ids: Sequence[int], compute: Compute) -> PrefixCache | None:
    """Return what the model remembers of `ids`, where that is keys and values alone."""
    with compute.autocast:
        output = model(
            input_ids=torch.tensor([ids], device=model.device),
            use_cache=True,
            logits_to_keep=1,
            **plain_output(model),
        )
    found: Any = getattr(output, "past_key_values", None)
    return PrefixCache(tuple(ids), states_of(found)) if fits_slots(found) else None


def _reason_for_whole_prompts(
    model: LanguageModel, ids: Sequence[int], longest: Sequence[int]
) -> str | None:
    """Return why prompts must not be read behind their start `ids`, or None where they may be.

    Compared are `longest` and the shortest prompt that there could be, one token behind the start:
    an architecture that takes the distance of two tokens for that of their columns (ALiBi in MPT,
    local attention in GPT-Neo) sees the padding between, and only there.
    """
    exact = Compute(model.device)
    start = _read(model, ids, exact)
    if start is None:
        return "it keeps more than the keys and values of every token"
    pair = [list(longest[: len(start) + 1]), list(longest)]
    with exact.autocast:
        expected = torch.cat([_behind(model, prompt) for prompt in pair])
        tokens = expected.argmax(-1).tolist()
        going_on = [[*prompt, token] for prompt, token in zip(pair, tokens, strict=True)]
        later = torch.cat([_behind(model, prompt) for prompt in going_on])
        examples = [Example(tuple(ids[:-1]), (ids[-1],)) for ids in going_on]
        batch = collate(start.behind(examples), [0, 1]).to(model.device)
        scored, _, _ = answer_logits(model, batch, start.passing())
        if reason := _unlike("scored", scored, expected):
            return reason
        read, cache = read_prompts(model, pair, start)
        if reason := _unlike("answered", read, expected):
            return reason
        slots = Slots(cache, len(pair), len(longest) + 1)
        slots.move(len(longest))
        begins = [len(longest) - len(prompt) for prompt in pair]
        slots.admit(cache, begins, len(start))
        slots.crop(min(begins))
        return _unlike("answered", read_tokens(model, slots, begins, tokens), later)


def _unlike(how: str, found: Tensor, expected: Tensor) -> str | None:
    """Return how far the predictions by logits (B, V) are apart, or None where that is rounding."""
    change = found.float().log_softmax(-1) - expected.float().log_softmax(-1)
    difference = change.abs().max().item()
    if difference <= TOLERANCE:
        return None
    return f"{how} behind a shared start its predictions are off by {difference:.1g} nats"


def _behind(model: LanguageModel, prompt: Sequence[int]) -> Tensor:
    """Return the logits (1, V) behind a prompt that is read alone."""
    ids = torch.tensor([prompt], device=model.device)
    logits: Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1]
    return logits
