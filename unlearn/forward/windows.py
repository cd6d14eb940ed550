"""How far back a token sees: a model of windows reads a long row otherwise than a short one."""

from __future__ import annotations

from unlearn.compute.model import LanguageModel

WINDOWS = ("sliding_window", "attention_chunk_size", "window_size", "attention_window_size")
"""What architectures call the number of tokens before it that a token sees."""


def farthest(model: LanguageModel) -> float:
    """Return the most tokens of a row of which every one sees all before it."""
    config = model.config.get_text_config()
    windows = (getattr(config, name, None) for name in WINDOWS)
    return min((window for window in windows if window), default=float("inf"))
