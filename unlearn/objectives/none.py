"""No objective: a task that is left out."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.objectives.base import Objective


@dataclass
class NoObjective(Objective):
    """Leave the task out: retain-free methods (UNDIAL, CE-U) never look at a retain row.

    The task is not computed, so it costs nothing; the other task's gradient is the direction, and
    the automatic learning rate fits its parabola to the other task's loss.
    """

    trains = False

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        raise AssertionError("a task without a loss is never computed")
