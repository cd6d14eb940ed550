"""What an objective is, and what it may ask for before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.data.splits import Row
from unlearn.data.tokens import Example
from unlearn.objectives.levels import level_problems
from unlearn.options.beside import Beside
from unlearn.options.declared import Declared


class Resources(Protocol):
    """What a run offers to the objective of one task; everything is made on demand, once.

    The *target* is the model before unlearning, the "reference" of the preference papers. Rows are
    numbered as `Batch.rows` numbers them: row i is `examples[i]`.
    """

    examples: Sequence[Example]
    """The task's rows as ids, N of them."""
    model: LanguageModel
    """The model that is about to be trained; still the target."""

    def encode(self, answers: Sequence[str]) -> list[Example]:
        """Return the task's N questions, each with another answer."""
        ...

    def target_sums(self, examples: Sequence[Example]) -> Tensor:
        """Return S = Σ ℓ of every example's answer under the target, (N,) float32, on the device.

        Scored once and kept in the cache: constants, so no second model is held for them.
        """
        ...

    def frozen_target(self) -> Any:
        """Return the target as it stays, without gradients; both tasks share the one.

        A copy, or with an adapter the model itself, whose calls leave the adapter out.
        """
        ...

    def reinforced(self, steps: int, lr: float, batch_size: int, seed: int) -> Any:
        """Return a copy of the target that has learnt the task's rows `steps` steps further.

        Made anew at each call; whoever asks lets it go.
        """
        ...

    def level(self, name: str) -> Tensor:
        """Return the NLL per token that each forget row should reach, (N,) float32, on the device.

        `reference`: the row's own mean NLL under the retain-only model; `holdout`: the mean NLL of
        the holdout rows under the target, the same for every row; `auto`: the first of them that is
        there.
        """
        ...

    def token_levels(self, name: str) -> list[Tensor] | None:
        """Return the same token by token, N tensors; None where it is known a row at a time only.

        Only the reference gives it: what a model that never saw the row thinks of each token.
        """
        ...


class Objective(Declared):
    """A loss to minimise, as a sum over tokens (default) or rows, and the count to divide it by."""

    keeps_target: bool = False
    """Whether it asks for the frozen target: a second model in memory where no adapter is."""
    positive: bool = True
    """Whether the loss is never negative; some weightings divide by it or take its logarithm."""
    trains: bool = True
    """Whether there is a loss at all; a task without one is not computed."""
    needs_level: str | None = None
    """A level by name (:data:`unlearn.objectives.levels.LEVELS`) where :meth:`Resources.level` will
    be asked for it, so that its absence is reported before any model loads."""
    zero_at_target: bool = False
    """Whether the loss is zero at the target, as every distance to it is. Nothing along a step can
    be read off its parabola there, so the automatic learning rate reads the rows' NLL instead."""
    vanishes: bool = False
    """Whether the loss, and its gradient with it, becomes zero once enough is forgotten, as that of
    a bounded loss. A weighting whose direction is then zero too is refused beside it."""
    moving_target: bool = False
    """Whether the loss has detached parts that move with the model. Its value along a step is then
    another function than the one whose gradient is taken, and falls for steps of any length."""
    one_pass: bool = False
    """Whether `sum` asks for the logits of its batch, as they are and once, so that a pass may be
    that of the other task's rows as well. Saves time under fixed weights, and changes no number."""
    layer: int | None = None
    """The hidden layer (counted from 1) that the loss is taken at; None = the output."""

    @property
    def endless(self) -> bool:
        """Whether the loss falls for ever, however much is forgotten, as that of plain ascent."""
        return self.trains and not (self.positive or self.vanishes)

    @property
    def at_hidden_layer(self) -> bool:
        """Whether the loss is taken at a hidden layer, also where `layer` is not known yet."""
        return self.layer is not None

    def problems_beside(self, method: Beside) -> list[str]:
        problems = level_problems("level", self.needs_level, method.reference)
        if self.layer is not None and (depth := method.depth) is not None and self.layer > depth:
            problems.append(f"layer: {self.layer}; allowed: 1 to {depth}, the layers of this model")
        return problems

    def check_rows(self, rows: Sequence[Row]) -> None:
        """Learn the task's rows, before any model loads; raises DataError where they do not fit."""

    def prepare(self, resources: Resources, other: Objective) -> None:
        """Take what is needed of `resources`, once, before the first step.

        `other` is the objective of the other task, already prepared where this one is retain's.
        """

    def count(self, batch: Batch) -> int:
        """Return what the sum is averaged over; known without a model, so before any backward."""
        return batch.answer_tokens

    def at_target(self, batch: Batch, sums: Tensor) -> Tensor | None:
        """Return what :meth:`sum` was at the target, a scalar; None where that is not known.

        `sums` (N,) is S of every row of the task under the target.
        """
        return sums.new_zeros(()) if self.zero_at_target else None

    def tokens(self, batch: Batch) -> int:
        """Return the tokens of the batch that are trained on, prompts included."""
        return batch.tokens if self.trains else 0

    def shown(self, loss: float) -> float:
        """Return the value that the record shows for a mean loss: NLL-like and positive."""
        return loss

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        """Return the loss summed over the batch, float32 scalar with gradient."""
        raise NotImplementedError
