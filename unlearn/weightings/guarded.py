"""Guarded NGDiff: forgetting that stops where the retain rows begin to pay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unlearn.options.declared import ABOVE_ZERO, SHARE, option
from unlearn.weightings.ngdiff import NGDiff


@dataclass
class Guarded(NGDiff):
    """NGDiff × how far the retain loss is from its bound × how much is left to forget.

    Our own (METHODS.md 6), an interior-point view of: minimise L_F subject to L_R ≤ b. With b the
    retain loss of the target on the same rows plus `slack`, and L_F⁰ the first forget loss,

        s = clip((b − L_R) / slack, 0, 1),     φ = min(1, √(L_F / (fade · L_F⁰))),
        w_R = max(φ, 1 − s) / ‖g_R‖,           w_F = s · φ / ‖g_F‖.

    s is 1 where the retain rows are as the target had them and 0 at the bound, so the direction is
    NGDiff's far from it and repair alone at it. Because max(φ, 1 − s) ≥ s·φ·cos θ, d·g_R ≥ 0 at
    every step, θ the angle of the two gradients, and the forget loss falls wherever
    s·φ > max(φ, 1 − s)·cos θ with g_F its gradient. φ is 1 for a loss without a floor; for one that
    ends at zero it lets the step shrink with the distance that is left, of which such a loss is the
    square near its end, since a normalised gradient does not shrink.
    """

    reads_target = True

    slack: float = option(0.05, ABOVE_ZERO)
    """Nats by which the retain loss may lie above the target's on the same rows."""
    fade: float = option(0.5, SHARE)
    """Share of the first forget loss below which the step shrinks with it; 0: it never does."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expected: float | None = None
        self.first: tuple[float, float] | None = None

    def expect(self, retain_loss: float | None) -> None:
        self.expected = retain_loss

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        retain_loss, forget_loss = losses.tolist()
        if self.first is None:
            self.first = (retain_loss, forget_loss)
        start = self.first[0] if self.expected is None else self.expected
        safe = min(max((start + self.slack - retain_loss) / self.slack, 0.0), 1.0)
        end = self.fade * self.first[1]
        left = min(forget_loss / end, 1.0) ** 0.5 if end > 0 and forget_loss >= 0 else 1.0
        w_retain, w_forget = super().__call__(gramian, losses)
        return max(left, 1 - safe) * w_retain, safe * left * w_forget

    def state_dict(self) -> dict[str, Any]:
        return {"first": self.first}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.first = None if state["first"] is None else tuple(state["first"])
