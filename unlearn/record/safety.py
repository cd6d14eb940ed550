"""How safe the way was: what the retain loss did between the first step and the last.

A run that is stopped, or read, in between is the model of that step, so a good end is not enough
(METHODS.md 6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SLACK = 0.25
"""Nats by which a step's retain loss may lie above the first step's and count as safe."""


def safety_of(training: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what the training lines of a record say of the way; None without a retain loss.

    `first` and `largest` are losses of a step's retain rows in nats a token (of the distance to the
    target, where the retain objective is one), `step` is where the largest was, `beyond` counts the
    steps above `bound`, which is `first` + :data:`SLACK`, the same for every method.
    """
    losses = {
        line["step"]: line["train/retain_loss"]
        for line in training
        if line.get("train/retain_loss") is not None
    }
    if not losses:
        return None
    first = next(iter(losses.values()))
    bound = first + SLACK
    step = max(losses, key=lambda step: losses[step])
    beyond = sum(loss > bound for loss in losses.values())
    return {
        "first": first,
        "largest": losses[step],
        "step": step,
        "bound": bound,
        "beyond": beyond,
    }
