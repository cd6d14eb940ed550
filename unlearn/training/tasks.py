"""One task at one step: its loss and its gradient, exact over micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from unlearn.compute.device import Compute
from unlearn.compute.gradients import Gradient, take_gradient
from unlearn.compute.model import LanguageModel
from unlearn.data.batches import Batch
from unlearn.objectives import Objective


@dataclass
class Task:
    """One of the two tasks at one step: its objective and its micro-batches."""

    objective: Objective
    batches: Sequence[Batch]

    @property
    def count(self) -> int:
        """Tokens or rows of the whole logical batch: the one number its loss is divided by."""
        return sum(self.objective.count(batch) for batch in self.batches)


def task_gradient(
    model: LanguageModel, task: Task, parameters: Sequence[Parameter], compute: Compute
) -> tuple[Tensor, Gradient]:
    """Return loss (scalar) and gradient of one task, accumulated over its micro-batches.

    The sum of every micro-batch is divided by the count of the whole batch: normalising a
    micro-batch on its own would give another gradient wherever answers differ in length.
    """
    count = task.count
    total: Tensor | float = 0.0
    for batch in task.batches:
        with compute.autocast:
            loss = task.objective.sum(model, batch) / count
        loss.backward()
        total = total + loss.detach()
    return torch.as_tensor(total), take_gradient(parameters)


@torch.no_grad()
def task_loss(model: LanguageModel, task: Task, compute: Compute) -> Tensor:
    """Return the loss (scalar) of one task without a gradient."""
    count = task.count
    total: Tensor | float = 0.0
    for batch in task.batches:
        with compute.autocast:
            total = total + task.objective.sum(model, batch) / count
    return torch.as_tensor(total)


def weighted_gradient(
    model: LanguageModel,
    retain: Task,
    forget: Task,
    weights: tuple[float, float],
    parameters: Sequence[Parameter],
    compute: Compute,
) -> tuple[Tensor, Tensor, Gradient]:
    """Return both losses and the gradient of w_retain·L_retain + w_forget·L_forget.

    One backward pass a pair of micro-batches. A task of weight zero is computed without gradient,
    for the record only.
    """
    losses = {}
    pending: list[tuple[str, Task, float, int]] = []
    for name, task, weight in (("retain", retain, weights[0]), ("forget", forget, weights[1])):
        if weight == 0:
            losses[name] = task_loss(model, task, compute)
        else:
            pending.append((name, task, weight, task.count))
            losses[name] = torch.zeros(())
    for number in range(max((len(task.batches) for _, task, _, _ in pending), default=0)):
        weighted: Tensor | None = None
        for name, task, weight, count in pending:
            if number < len(task.batches):
                with compute.autocast:
                    loss = task.objective.sum(model, task.batches[number]) / count
                losses[name] = losses[name].to(loss.device) + loss.detach()
                weighted = weight * loss if weighted is None else weighted + weight * loss
        if weighted is not None:
            weighted.backward()
    return losses["retain"], losses["forget"], take_gradient(parameters)
