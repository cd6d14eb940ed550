"""The gradients of both tasks at the same time, where a core is idle (compute/threads.py).

Each is computed as it would be alone, so the bits are the same; only both forward passes are kept
at a time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from torch import Tensor
from torch.nn import Parameter

from unlearn.compute.device import Compute
from unlearn.compute.gradients import Gradient
from unlearn.compute.model import LanguageModel
from unlearn.compute.threads import idle_cores
from unlearn.training.method import Method
from unlearn.training.tasks import Task, task_gradient

MOST_POSITIONS = 4096
"""Of a task's rows, so that the second pass keeps some 100 MiB of a small model at most."""
OnePass = tuple[Tensor, Gradient]
"""Loss (scalar) and gradient of a task."""


class SideBySide:
    """Takes the forget gradient in a thread of its own, of a twin that shares the weights.

    The twin is there for what hangs on a model while it is called: hooks, and a list of layers that
    is cut short.
    """

    def __init__(self, model: LanguageModel, parameters: Sequence[Parameter]) -> None:
        self.model, self.parameters = model, parameters
        self.thread = ThreadPoolExecutor(1, "forget")
        self.twin, self.twins = twin_of(model, parameters)

    def gradients(self, retain: Task, forget: Task, compute: Compute) -> tuple[OnePass, OnePass]:
        """Return what :func:`task_gradient` returns of each task."""
        if any(
            p.data_ptr() != t.data_ptr() for p, t in zip(self.parameters, self.twins, strict=True)
        ):
            self.twin, self.twins = twin_of(self.model, self.parameters)  # weights were replaced
        other = self.thread.submit(task_gradient, self.twin, forget, self.twins, compute)
        try:
            of_retain = task_gradient(self.model, retain, self.parameters, compute)
        finally:
            wait([other])
        return of_retain, other.result()


def side_by_side(
    model: LanguageModel, parameters: Sequence[Parameter], method: Method, compute: Compute
) -> SideBySide | None:
    """Return what takes both gradients at once; None where one after the other is right.

    Not for a model that draws (dropout), nor with an adapter, which is switched off to ask the
    target, nor where both tasks ask the one frozen target, nor for objectives of a user's, which
    may share what they like.
    """
    both = (method.retain, method.forget)
    possible = (
        compute.device.type == "cpu"
        and idle_cores() > 0
        and not compute.together
        and not model.training
        and len(parameters) == len(list(model.parameters()))
        and all(objective.ours for objective in both)
        and not all(objective.keeps_target for objective in both)
    )
    return SideBySide(model, parameters) if possible else None


def few_positions(task: Task) -> bool:
    """Return whether what a pass of the task's rows keeps is little."""
    return max(batch.input_ids.numel() for batch in task.batches) <= MOST_POSITIONS


def twin_of(
    model: LanguageModel, parameters: Sequence[Parameter]
) -> tuple[LanguageModel, list[Parameter]]:
    """Return the model once more with the same weights in memory, and its own `.grad` for each."""
    known: dict[int, Any] = {id(p): Parameter(p.detach()) for p in model.parameters()}
    twins = [known[id(parameter)] for parameter in parameters]
    known |= {id(buffer): buffer for buffer in model.buffers()}
    return copy.deepcopy(model, known), twins
