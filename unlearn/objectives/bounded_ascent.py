"""Bounded ascent: a row is raised until it is as unlikely as if it had never been learnt."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, kl_div
from torch.nn.utils.rnn import pad_sequence

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.chunks import answer_losses, token_values
from unlearn.objectives.ascent import Ascent
from unlearn.objectives.base import Objective, Resources
from unlearn.objectives.levels import LEVEL, level_of
from unlearn.objectives.row_sums import row_sums
from unlearn.options.beside import Beside
from unlearn.options.declared import SHARE, ZERO_OR_MORE, option

log = logging.getLogger(__name__)

LEAST_LEVEL = 1e-6
"""Nats of a token that is certain; all others share what it leaves."""


@dataclass
class BoundedAscent(Ascent):
    """Ascent on the rows below their level: −(1/B)·Σ of S/|y| over rows with S/|y| < level.

    Our own (METHODS.md 5): ascent has no floor, and a direction of fixed length never shrinks, so
    rows that are gone would be driven on while the rest pays for it. S (B,) is the NLL of a row's
    answer, |y| its tokens, B all rows of the batch, so that the rows left do not weigh more as
    others drop out; a row that falls back below its level returns. With no row left, loss and
    gradient are zero and a step is the retain task's alone. The record shows the NLL of the rows
    left, divided by all: it rises, then falls to zero.

    With `fade` it is a distance instead, the mean over rows of h(S/|y| − level), h(x) being Huber's
    function with slope 1 beyond `fade`. Where the level is the reference's, it is the mean over the
    row's tokens of h(ℓ_t − level_t), level_t what the reference thinks of that token: a sentence
    then stays one, its names become unlikely and "was born in" does not. `distil` is the share of
    KL(q_t ‖ p_t) in it, p_t the model's prediction and q_t the target's, in which the right token
    has the probability exp(−level_t) and all others keep their proportions: what UNDIAL (arXiv
    2402.10052) distils, with a lowering that ends where the reference stands. Without it, a name
    takes all other names down with it. The record shows the distance.
    """

    needs = (
        "a retain-only model (trained where none is given), holdout rows, or a number; with "
        "distil, memory for a second copy of the model"
    )
    examples = ("method.forget.level=3.5",)

    level: Any = option("reference", LEVEL)
    """Mean NLL of a row that is enough: `reference` (the row's own under the retain-only model),
    `holdout` (the mean of the holdout rows under the target), `auto` (the first that is there), or
    nats a token."""

    fade: float = option(0.0, ZERO_OR_MORE)
    """Nats from its level over which the pull of a row, or token, fades, from below as from beyond;
    0: a row is only raised, and switches off at its level."""
    distil: float = option(0.0, SHARE)
    """Share of the distance that is the whole prediction's, so that other tokens keep their
    proportions; needs fade, and is left out where the level is known a row at a time only."""

    vanishes = True

    @property
    def positive(self) -> bool:  # type: ignore[override]
        """Whether the loss is a distance, that ends at zero."""
        return self.fade > 0

    @property
    def keeps_target(self) -> bool:  # type: ignore[override]
        """Whether the target stays in memory, as it does where the level may be the reference's."""
        return self.distil > 0 and self.needs_level in ("auto", "reference")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.level = level_of(self.level)
        self.needs_level = self.level if isinstance(self.level, str) else None

    def problems_beside(self, method: Beside) -> list[str]:
        problems = super().problems_beside(method)
        if self.distil and not self.fade:
            problems.append(f"distil: {self.distil}; needs fade above 0, the loss as a distance")
        return problems

    def prepare(self, resources: Resources, other: Objective) -> None:
        self.levels: Tensor | None = None
        self.token_levels: Tensor | None = None
        if self.needs_level is not None:
            self.levels = resources.level(self.needs_level)  # (N,)
            if self.fade and (known := resources.token_levels(self.needs_level)) is not None:
                self.token_levels = pad_sequence(known, batch_first=True)  # (N, longest answer)
        self.target: Any = None
        if self.distil and self.token_levels is not None:
            self.target = resources.frozen_target()
        elif self.distil:
            log.info("method.forget.distil: left out, this level is known a row at a time only")

    def count(self, batch: Batch) -> int:
        return batch.size

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        lengths = batch.answer_mask.sum(dim=1)  # (B,)
        if self.token_levels is not None:
            levels = self.token_levels[batch.rows[batch.owner], batch.places]
            by_token, rows = self._distances(model, batch, levels)
            return (by_token / lengths[rows]).sum()
        means = row_sums(model, batch) / lengths
        level = self.level if self.levels is None else self.levels[batch.rows]
        if self.fade:
            return self._huber(means - level).sum()
        return -torch.where(means.detach() < level, means, 0.0).sum()

    def _distances(
        self, model: LanguageModel, batch: Batch, levels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the distance of every answer token from its level (N,), and its row (N,)."""
        if self.target is None:
            losses, rows = answer_losses(model, batch)
            return self._huber(losses - levels), rows
        return token_values(model, batch, self._distilled, self.target, [levels])

    def _distilled(
        self, logits: Tensor, labels: Tensor, target_logits: Tensor, levels: Tensor
    ) -> Tensor:
        """Return the distance of every token (N,) from logits (N, V) of model and target."""
        predicted = logits.log_softmax(dim=1)  # (N, V)
        losses = -predicted.gather(1, labels[:, None]).squeeze(1)
        wanted = self._without(target_logits, labels, levels)
        others = kl_div(predicted, wanted, reduction="none", log_target=True).sum(dim=1)
        return torch.lerp(self._huber(losses - levels), others, self.distil)

    @staticmethod
    @torch.no_grad()
    def _without(logits: Tensor, labels: Tensor, levels: Tensor) -> Tensor:
        """Return log q (N, V): the target's prediction with the right token at its level."""
        levels = levels.to(logits.dtype).clamp(min=LEAST_LEVEL)[:, None]
        labels = labels[:, None]
        others = logits.scatter(1, labels, -math.inf).log_softmax(dim=1)
        return (others + (-torch.expm1(-levels)).log()).scatter(1, labels, -levels)

    def _huber(self, distance: Tensor) -> Tensor:
        zero = torch.zeros_like(distance)
        return huber_loss(distance, zero, reduction="none", delta=self.fade) / self.fade

    def shown(self, loss: float) -> float:
        return loss if self.fade else super().shown(loss)
