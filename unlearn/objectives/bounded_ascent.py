"""Bounded ascent: a row is raised until it is as unlikely as if it had never been learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import huber_loss
from torch.nn.utils.rnn import pad_sequence

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.forward.answers import answer_losses
from unlearn.objectives.ascent import Ascent
from unlearn.objectives.base import Objective, Resources
from unlearn.objectives.levels import LEVEL, level_of
from unlearn.objectives.row_sums import row_sums, summed_by_row
from unlearn.options.declared import ZERO_OR_MORE, option


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
    function with slope 1 beyond `fade`. Where the level is the reference's, half of it is the mean
    over the row's tokens of h(ℓ_t − level_t), level_t what the reference thinks of that token: a
    sentence then stays one, its names become unlikely and "was born in" does not, while the row as
    a whole arrives at its level, too. The record shows the distance.
    """

    needs = "a retain-only model (trained where none is given), holdout rows, or a number"
    examples = ("method.forget.level=3.5",)

    level: Any = option("reference", LEVEL)
    """Mean NLL of a row that is enough: `reference` (the row's own under the retain-only model),
    `holdout` (the mean of the holdout rows under the target), `auto` (the first that is there), or
    nats a token."""

    fade: float = option(0.0, ZERO_OR_MORE)
    """Nats from its level over which the pull of a row, or token, fades, from below as from beyond;
    0: a row is only raised, and switches off at its level."""

    vanishes = True

    @property
    def positive(self) -> bool:  # type: ignore[override]
        """Whether the loss is a distance, that ends at zero."""
        return self.fade > 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.level = level_of(self.level)
        self.needs_level = self.level if isinstance(self.level, str) else None

    def prepare(self, resources: Resources, other: Objective) -> None:
        self.levels: Tensor | None = None
        self.token_levels: Tensor | None = None
        if self.needs_level is not None:
            self.levels = resources.level(self.needs_level)  # (N,)
            if self.fade and (known := resources.token_levels(self.needs_level)) is not None:
                self.token_levels = pad_sequence(known, batch_first=True)  # (N, longest answer)

    def count(self, batch: Batch) -> int:
        return batch.size

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        lengths = batch.answer_mask.sum(dim=1)  # (B,)
        if self.token_levels is not None:
            losses, rows = answer_losses(model, batch)  # (tokens of all answers,) in order of rows
            levels = self.token_levels[batch.rows]  # (B, longest answer)
            known = torch.arange(levels.shape[1], device=levels.device) < lengths[:, None]
            distances = losses - levels[known]
            by_row = self._huber(summed_by_row(distances, batch) / lengths)
            by_token = self._huber(distances) / lengths[rows]
            return (by_row.sum() + by_token.sum()) / 2
        means = row_sums(model, batch) / lengths
        level = self.level if self.levels is None else self.levels[batch.rows]
        if self.fade:
            return self._huber(means - level).sum()
        return -torch.where(means.detach() < level, means, 0.0).sum()

    def _huber(self, distance: Tensor) -> Tensor:
        zero = torch.zeros_like(distance)
        return huber_loss(distance, zero, reduction="none", delta=self.fade) / self.fade

    def shown(self, loss: float) -> float:
        return loss if self.fade else super().shown(loss)
