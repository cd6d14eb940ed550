"""How long a row may be for a checkpoint: what the model and its tokenizer say of themselves."""

from __future__ import annotations

import logging
from typing import Any

from unlearn.compute.model import positions_of
from unlearn.console.once import say_once, warn_once
from unlearn.models.load import configuration_of
from unlearn.options.schema import ModelConfig

log = logging.getLogger(__name__)

UNKNOWN_LENGTH = 2048
"""Tokens for a model that names no limit, as of a recurrent one."""


def own_length(config: ModelConfig, path: str, tokenizer: Any) -> tuple[int, str]:
    """Return the most tokens that a checkpoint says it reads, and who says so."""
    positions = positions_of(configuration_of(config, path))
    limits = [] if positions is None else [(positions, "its positions")]
    if 8 <= tokenizer.model_max_length < 10**9:  # else it is transformers' word for "unknown"
        limits.append((int(tokenizer.model_max_length), "its tokenizer's model_max_length"))
    return min(limits, default=(UNKNOWN_LENGTH, "it names no limit"))


def longest_row(config: ModelConfig, path: str, tokenizer: Any) -> int:
    """Return `model.max_length`, or what the checkpoint says where that is null.

    Never more than the model has positions for, which is said.
    """
    if config.max_length is None:
        length, who = own_length(config, path, tokenizer)
        say_once(log, f"model.max_length: {length} tokens, by {who}")
        return length
    positions = positions_of(configuration_of(config, path))
    if positions is None or positions >= config.max_length:
        return config.max_length
    warn_once(
        log,
        f"model.max_length={config.max_length}: the model has positions for {positions} tokens, "
        "which is the most that a row may have here",
    )
    return positions
