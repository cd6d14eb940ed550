"""A model measured so that nothing else notices: modes and random generators are put back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from unlearn.compute.model import LanguageModel


@contextmanager
def in_evaluation_mode(model: LanguageModel) -> Iterator[None]:
    """Switch whatever is meant for training only off, and back as it was, module by module."""
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was in training:
            module.training = was


SEED = 0
"""A measure that draws at random draws the same in every stage and every run."""


@contextmanager
def undisturbed(model: LanguageModel, tokenizer: Any) -> Iterator[None]:
    """Put back the modes of the model, the tokenizer's padding and every random generator."""
    padding = ("padding_side", "truncation_side", "pad_token")
    kept = {name: getattr(tokenizer, name) for name in padding if hasattr(tokenizer, name)}
    with generators_kept(), in_evaluation_mode(model), torch.no_grad():
        torch.manual_seed(SEED)
        random.seed(SEED)
        np.random.seed(SEED)
        try:
            yield
        finally:
            for name, value in kept.items():
                setattr(tokenizer, name, value)


def random_state() -> dict[str, Any]:
    """Return the state of every global generator; ours are of their own, a user's part may not."""
    name, keys, *rest = np.random.get_state()
    state = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": [name, [int(key) for key in keys], *rest],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random(state: Mapping[str, Any]) -> None:
    """Put every global generator back to where :func:`random_state` found it."""
    torch.set_rng_state(state["torch"])
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def generators_kept() -> Iterator[None]:
    """Put every global generator back, whatever is drawn in between."""
    state = random_state()
    try:
        yield
    finally:
        restore_random(state)
