"""No objective: the task's rows are measured, never trained on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.objectives.base import Objective


@dataclass
class NoObjective(Objective):
    """Leave the task out: retain-free methods (UNDIAL, CE-U) never look at a retain row, and UNDO,
    which begins with what was forgotten already, at no forget row.

    The task is not computed, so it costs nothing; the other task's gradient is the direction, and
    the automatic learning rate fits its parabola to the other task's loss.
    """

    examples = ("method=graddiff scheduler=constant optimizer.lr=1e-5",)

    trains = False

    def sum(self, model: LanguageModel, batch: Batch) -> Tensor:
        raise AssertionError("a task without a loss is never computed")
