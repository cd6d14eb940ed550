"""A task vector taken off: what learning the forget rows once more adds to the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from unlearn.options.beside import Beside
from unlearn.options.declared import ABOVE_ZERO, option
from unlearn.training.interventions.base import Intervention, Start, TaskAtStep


@dataclass
class TaskVector(Intervention):
    """Take the forget gradient at the mirrored weights θ₀ − (θ − θ₀)/α, θ₀ those of the target.

    Ilharco et al., ICLR 2023, arXiv 2212.04089, as MUSE has it: a model θ_r learns the forget rows
    further, from θ₀, and τ = θ_r − θ₀ is then taken off, θ = θ₀ − α·τ. So at every step θ_r is the
    mirrored θ, and its descent is the ascent of θ with the gradient of θ_r:

        θ_r ← θ_r − η·u(∇L_F(θ_r))    ⇔    θ ← θ + α·η·u(∇L_F(θ_r)),

    for every optimizer whose step u changes its sign with the gradient (SGD, AdamW without weight
    decay, signum). Every state of a run thus is the task vector of as many steps, measured and kept
    as any other; the rate is α times that of θ_r. A copy of the target's weights, and one of the
    weights while the gradient is taken; no pass through the model. The forget loss of the record is
    that of θ_r, which falls.

    Where we differ: there is no second model and no stage of its own; a retain task may be weighed
    in, with its gradient taken at θ. Weights of an adapter are refused: their product has no
    mirror.
    """

    needs = "ascent as the forget objective"
    examples = ("method=ga", "method=ga method.interventions.task_vector.alpha=0.5")
    of_parts = True

    alpha: float = option(1.0, ABOVE_ZERO)
    """α, how many times the task vector is taken off."""

    def problems_beside(self, method: Beside) -> list[str]:
        problems = []
        if method.adapter:
            problems.append(
                "mirrors the weights of the model itself, and the product of an adapter's has no "
                "mirror; use it without model/adapter=lora"
            )
        if not method.forget.trains or method.forget.positive or method.forget.vanishes:
            problems.append("undoes the learning of the forget rows; use it with forget=ascent")
        return problems

    def begin(self, start: Start) -> None:
        self.parameters = start.parameters
        self.target = [parameter.detach().clone() for parameter in start.parameters]

    @contextmanager
    def around(self, task: TaskAtStep) -> Iterator[None]:
        if task.name != "forget":
            yield
            return
        weights = [parameter.detach().clone() for parameter in self.parameters]
        with torch.no_grad():
            for parameter, target in zip(self.parameters, self.target, strict=True):
                parameter.sub_(target).div_(-self.alpha).add_(target)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, weight in zip(self.parameters, weights, strict=True):
                    parameter.copy_(weight)
