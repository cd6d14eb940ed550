"""Weights cast to bfloat16 once, for as long as nobody changes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel


@contextmanager
def weights_cast_once(model: LanguageModel, compute: Compute) -> Iterator[Compute]:
    """Compute without gradients, under autocast, with one cast of each weight for all passes.

    Gives the `compute` to use within. Every weight is kept in bfloat16 beside its float32 master, 2
    bytes a weight, instead of being read and cast at every generated token, 8 bytes a weight and
    token; the numbers are the same to the bit. Weights must not change meanwhile. Those that are
    sharded are cast at every pass: kept, each device would hold all of them. So are those that a
    layer multiplies by in another shape (Falcon transposes them), which autocast never keeps.
    """
    if not compute.bfloat16 or compute.sharded:
        with torch.no_grad(), compute.autocast:
            yield compute
        return
    # Autocast keeps the casts of those parameters only that ask for a gradient.
    frozen = [p for p in model.parameters() if p.dtype == torch.float32 and not p.requires_grad]
    fixed = replace(compute, fixed_weights=True)
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        with torch.no_grad(), fixed.autocast:
            yield fixed
    finally:
        torch.clear_autocast_cache()  # which an autocast around this one would keep
        for parameter in frozen:
            parameter.requires_grad_(False)
