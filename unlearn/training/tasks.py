"""One task at one step: its loss and its gradient, exact over micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import Parameter

from unlearn.compute.device import Compute
from unlearn.compute.gradients import Gradient, take_gradient
from unlearn.compute.model import LanguageModel
from unlearn.compute.offloading import Offloaded
from unlearn.compute.processes import sum_, summed, total
from unlearn.data.batches import Batch
from unlearn.forward.shared_pass import joined_pass
from unlearn.objectives import Objective


@dataclass
class Task:
    """One of the two tasks at one step: its objective and its micro-batches.

    Of several processes each has its share of the rows; losses and gradients are sums over all.
    """

    objective: Objective
    batches: Sequence[Batch]

    count: int = field(init=False)
    """Tokens or rows of the whole logical batch: the one number its loss is divided by."""

    def __post_init__(self) -> None:
        (self.count,) = total(sum(self.objective.count(batch) for batch in self.counted))

    @property
    def counted(self) -> list[Batch]:
        """The micro-batches of this process that count."""
        return [batch for batch in self.batches if not batch.idle]

    def loss(self, model: LanguageModel, batch: Batch, compute: Compute) -> Tensor:
        """Return what a micro-batch adds to the loss (scalar)."""
        with compute.autocast, Offloaded(model) if compute.offloads else nullcontext():
            loss = self.objective.sum(model, batch) / self.count
        return loss * 0.0 if batch.idle else loss


def task_gradient(
    model: LanguageModel, task: Task, parameters: Sequence[Parameter], compute: Compute
) -> tuple[Tensor, Gradient]:
    """Return loss (scalar) and gradient of one task, accumulated over its micro-batches.

    The sum of every micro-batch is divided by the count of the whole batch: normalising a
    micro-batch on its own would give another gradient wherever answers differ in length.
    """
    loss_so_far: Tensor | float = 0.0
    for batch in task.batches:
        loss = task.loss(model, batch, compute)
        loss.backward()
        loss_so_far = loss_so_far + loss.detach()
    return _of_all(model, loss_so_far), _taken(parameters, compute)


@torch.no_grad()
def task_loss(model: LanguageModel, task: Task, compute: Compute) -> Tensor:
    """Return the loss (scalar) of one task without a gradient."""
    loss_so_far: Tensor | float = 0.0
    for batch in task.batches:
        loss_so_far = loss_so_far + task.loss(model, batch, compute)
    return _of_all(model, loss_so_far)


def weighted_gradient(
    model: LanguageModel,
    retain: Task,
    forget: Task,
    weights: tuple[float, float],
    parameters: Sequence[Parameter],
    compute: Compute,
) -> tuple[Tensor, Tensor, Gradient]:
    """Return both losses and the gradient of w_retain·L_retain + w_forget·L_forget.

    One forward and one backward pass a pair of micro-batches that are small, where both objectives
    ask for no more (:attr:`Objective.one_pass`); else one task after the other, so that the
    activations of one are gone before the other's are made. A task of weight zero is computed
    without gradient, for the record only.
    """
    losses = {}
    pending: list[tuple[str, Task, float]] = []
    for name, task, weight in (("retain", retain, weights[0]), ("forget", forget, weights[1])):
        if weight == 0:
            losses[name] = task_loss(model, task, compute)
        else:
            pending.append((name, task, weight))
            losses[name] = torch.zeros((), device=model.device)
    for number in range(max((len(task.batches) for _, task, _ in pending), default=0)):
        there = [one for one in pending if number < len(one[1].batches)]
        # Processes that hold the model together make every pass together: none may choose alone.
        alone = [] if compute.sharded else there
        shared = [t.batches[number] for _, t, _ in alone if t.objective.one_pass]
        with joined_pass(model, shared) as joined:
            weighted: Tensor | None = None
            for name, task, weight in there:
                loss = task.loss(model, task.batches[number], compute)
                losses[name] = losses[name] + loss.detach()
                part = weight * loss
                if not joined:
                    part.backward()
                else:
                    weighted = part if weighted is None else weighted + part
        if weighted is not None:
            weighted.backward()
    for name, _, _ in pending:
        losses[name] = _of_all(model, losses[name])
    return losses["retain"], losses["forget"], _taken(parameters, compute)


def _of_all(model: LanguageModel, loss: Tensor | float) -> Tensor:
    """Return the sum of what the micro-batches of every process add to a loss (scalar)."""
    if isinstance(loss, float):  # a process without rows
        loss = torch.full((), loss, device=model.device)
    return summed(loss)


def _taken(parameters: Sequence[Parameter], compute: Compute) -> Gradient:
    """Move the gradients of all processes' rows out of the parameters.

    Those of a sharded model are summed in the backward pass.
    """
    gradient = take_gradient(parameters)
    return gradient if compute.sharded else sum_(gradient, parameters)
