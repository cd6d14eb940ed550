"""What a weighting is."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unlearn.options.beside import Beside
from unlearn.options.declared import Declared


class Weighting(Declared):
    """Turns the Gramian of the two gradients, and the two losses, into two weights.

    A weighting without state inherits the empty `state_dict`; one with state overrides both
    methods, so that whoever goes on from a step can put it back.
    """

    fixed: tuple[float, float] | None = None
    """(w_retain, w_forget) where they are known beforehand: such a method needs no Gramian and runs
    one backward pass of the weighted sum."""

    needs_positive_losses: bool = False
    """Whether the losses are divided by, or taken the logarithm of, in a way that has no meaning
    below zero: refused with an objective whose loss is negative, such as ascent."""

    stops_at_zero: bool = False
    """Whether one zero gradient makes the direction zero: refused with an objective that has one at
    the start or at the end, for nothing would move."""

    reads_target: bool = False
    """Whether :meth:`expect` is to be called before each step, which needs the target's loss on
    every retain row: one pass over them before the first step."""

    def expect(self, retain_loss: float | None) -> None:
        """Learn the target's retain loss on the rows of the step; None where it is not known."""

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        """Return (w_retain, w_forget).

        `gramian` (2, 2) float64 and `losses` (2,) float64, both retain first, on the CPU.
        """
        raise NotImplementedError

    def problems_beside(self, method: Beside) -> list[str]:
        name, problems = type(self).__name__, []
        if self.needs_positive_losses:
            problems += [
                f"{name} needs losses that are never negative, and {field}={type(loss).__name__} "
                "is; allowed with it: npo, simnpo, idk and other losses with a floor at zero"
                for field, loss in method.losses
                if not loss.positive
            ]
        vanishing = [
            f"{field}={type(loss).__name__}"
            for field, loss in method.losses
            if loss.trains and (loss.zero_at_target or loss.vanishes)
        ]
        if self.stops_at_zero and vanishing:
            problems.append(
                f"{name} does not move where one gradient is zero, as that of "
                f"{' and '.join(vanishing)} is at the start or at the end; allowed with it: "
                "ngdiff, imtl_g, pcgrad, linear"
            )
        return problems

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
