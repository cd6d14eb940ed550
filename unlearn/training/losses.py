"""The losses of one step, for whoever looks along it (:class:`unlearn.schedulers.base.Losses`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.compute.device import Compute
from unlearn.compute.gradients import at_once
from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import gathered, summed
from unlearn.data.batches import Batch
from unlearn.objectives import Ascent, NegativeLogLikelihood
from unlearn.training.method import Method
from unlearn.training.tasks import Task, task_loss


@dataclass
class StepLosses:
    """The two losses at the model's weights of the moment, each a forward pass where it is asked.

    `known` are (retain, forget) losses before the step, None where they are not to be relied on;
    `start` (N,) is S of every retain row under the target.
    """

    model: LanguageModel
    compute: Compute
    method: Method
    retain: Task
    forget_task: Task
    next_retain: Sequence[Batch]
    known: tuple[float | None, float | None]
    start: Tensor | None

    @property
    def floor(self) -> bool:
        return self._forgetting().objective.positive

    @property
    def guess(self) -> float:
        return math.log(self.model.config.vocab_size)

    def probed(self) -> float:
        task, _ = self._of_the_authors()
        return self._loss(task)

    def probed_here(self) -> float:
        task, known = self._of_the_authors()
        return self._loss(task) if known is None else known

    def excess(self) -> float | None:
        if not self.method.retain.trains or self.start is None:
            return None
        task = Task(NegativeLogLikelihood(), self.next_retain)
        sums = [self.start[batch.rows] for batch in task.counted]
        at_target = torch.cat([*sums, self.start.new_zeros(0)]).sum()
        loss, before = at_once(task_loss(self.model, task, self.compute), summed(at_target))
        return loss - before / task.count

    def forget(self) -> float | None:
        return self._loss(self._forgetting()) if self.method.forget.trains else None

    def forget_here(self) -> float:
        task = self._forgetting()
        known = self.known[1] if task is self.forget_task else None
        return self._loss(task) if known is None else known

    def _forgetting(self) -> Task:
        # Along a step, a loss with parts that move with the model is another function.
        if self.method.forget.moving_target:
            return Task(Ascent(), self.forget_task.batches)
        return self.forget_task

    def _of_the_authors(self) -> tuple[Task, float | None]:
        """Return the task whose loss is probed, and that loss before the step where it is known.

        It is the retain task, or the forget task where there is no other. Where that one's loss
        says nothing along a step, it is the NLL of the retain rows.
        """
        task, known = self.retain, self.known[0]
        if self.method.single is self.method.forget and not self.method.forget.moving_target:
            task, known = self.forget_task, self.known[1]
        elif self.method.single is self.method.forget or task.objective.zero_at_target:
            task, known = Task(NegativeLogLikelihood(), task.batches), None
        return task, known

    def _loss(self, task: Task) -> float:
        return task_loss(self.model, task, self.compute).item()


def sums_at_target(task: Task, start: Tensor) -> list[Tensor]:
    """Return the sum of a task's loss at the target (scalars), from S of its rows.

    One a micro-batch of this process, and none where that is unknown.
    """
    sums = [task.objective.at_target(batch, start) for batch in task.counted]
    return [value for value in sums if value is not None]


def loss_at_target(task: Task, known: Sequence[float]) -> float | None:
    """Return what a task's loss was at the target, from its sums; None where it is unknown."""
    of_all = gathered((sum(known), len(known) == len(task.counted)))
    return sum(part for part, _ in of_all) / task.count if all(all_ for _, all_ in of_all) else None
