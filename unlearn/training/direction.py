"""The combined gradient of one step, with what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unlearn.compute.gradients import Gradient


@dataclass(frozen=True)
class Direction:
    """The combined gradient of one step, with what is known about it."""

    gradient: Gradient
    retain_loss: float | None
    """None, as `forget_loss`, where the task is left out."""
    forget_loss: float | None
    weights: tuple[float, float]
    norm: float
    diagnostics: Mapping[str, float | None]
    both: tuple[Gradient, Gradient] | None = None
    """(g_retain, g_forget) as they were before they were combined, where an intervention needs
    them."""
