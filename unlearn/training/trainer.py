"""The loop: for each pair of batches two gradients, their Gramian, weights, one step."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from unlearn.compute.device import Compute
from unlearn.compute.gradients import (
    Gradient,
    at_once,
    combine_,
    copied,
    gramian_and,
    inner_product,
    parked,
)
from unlearn.compute.memory import explaining_memory, less_memory
from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import total
from unlearn.compute.sharding import load_optimizer
from unlearn.console.progress import progress
from unlearn.data.batches import PairedBatches
from unlearn.errors import NumericalError
from unlearn.objectives import Objective
from unlearn.training.direction import Direction
from unlearn.training.interventions import Interventions, Start
from unlearn.training.losses import StepLosses, loss_at_target, sums_at_target
from unlearn.training.plan import Plan, number_of_steps
from unlearn.training.side_by_side import few_positions, side_by_side
from unlearn.training.tasks import Task, task_gradient, weighted_gradient
from unlearn.weightings import diagnose
from unlearn.weightings.diagnostics import DIAGNOSTICS

log = logging.getLogger(__name__)


class Trainer:
    """Unlearns: advances `model` step by step."""

    def __init__(
        self,
        model: LanguageModel,
        plan: Plan,
        batches: PairedBatches,
        compute: Compute,
        keep: Callable[[], Callable[[], None] | None] | None = None,
        start: Tensor | None = None,
    ) -> None:
        """`keep` is called before every step, and may return what saves the state as it is then;
        that is called once the weights have proved good: losses, norms and direction at them are
        finite, and they have not moved yet. `start` (N,) is S of every retain row under the target,
        where the plan reads it.

        Fixed weights need one gradient only; every `training.diagnose_every` steps both are taken
        apart all the same, for the record (0 = never).
        """
        self.model, self.method, self.scheduler = model, plan.method, plan.scheduler
        self.batches, self.compute, self.keep = batches, compute, keep
        self.start = start
        self.clip, self.diagnose_every = plan.training.clip, plan.training.diagnose_every
        self.parks = plan.training.park_gradient
        self.less_memory = less_memory("training", batches.micro_batch_size)
        self.steps = number_of_steps(plan.training, batches, plan.method)
        self.parameters: list[Parameter] = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = plan.optimizer(self.parameters)
        self.done = 0
        self.tokens = 0
        self.seconds = 0.0
        """Time in the loop, that of an earlier process included."""
        self.scheduler.begin(float(self.optimizer.param_groups[0]["lr"]), self.steps)
        self.interventions = Interventions(plan.method.interventions)
        self.beside = side_by_side(model, self.parameters, plan.method, compute)
        self.interventions.begin(Start(model, self.parameters, self.optimizer, self._forgetting))

    def run(
        self,
        on_step: Callable[[int, dict[str, Any]], None],
        after_step: Callable[[int], bool],
    ) -> None:
        """Take the steps that are left.

        `on_step` receives the number of the finished step, counted from 1, and its line for the
        record; `after_step` may evaluate or save, and returns whether it is enough. Raises
        NumericalError where a number is not finite; the parameters then are those of the last step.
        """
        started = time.monotonic() - self.seconds
        with progress("unlearning", self.steps, self.done) as bar:
            while self.done < self.steps:
                with explaining_memory(f"step {self.done + 1}", self.less_memory):
                    values = self.step()
                self.seconds = time.monotonic() - started
                values["seconds"] = round(self.seconds, 3)
                on_step(self.done, values)
                bar.advance(_note(values))
                if after_step(self.done):
                    return

    def state_dict(self) -> dict[str, Any]:
        """Return what the next step depends on besides the weights; the tensors are not copies."""
        return {
            "done": self.done,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "weighting": self.method.weighting.state_dict(),
            "interventions": self.interventions.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; at the end the optimizer may be missing."""
        self.done, self.tokens, self.seconds = state["done"], state["tokens"], state["seconds"]
        if "optimizer" in state:
            load_optimizer(self.optimizer, state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.method.weighting.load_state_dict(state["weighting"])
        self.interventions.load_state_dict(state["interventions"])

    def step(self) -> dict[str, Any]:
        """Take one step and return its line for the record."""
        save = None if self.keep is None else self.keep()
        forget_batches, retain_batches = self.batches.step(self.done)
        device = self.model.device
        retain = Task(self.method.retain, [batch.to(device) for batch in retain_batches])
        forget = Task(self.method.forget, [batch.to(device) for batch in forget_batches])
        direction = self.interventions.direct(self.direction(retain, forget))
        self._require_finite(
            direction.retain_loss, direction.forget_loss, {"direction norm": direction.norm}
        )
        if save is not None:
            save()
        norm = self._clip(direction)
        losses, tasks = self._losses(retain, forget, direction), (forget, retain)
        for parameter, part in zip(self.parameters, direction.gradient, strict=True):
            parameter.grad = part
        retain_loss, forget_loss = direction.retain_loss, direction.forget_loss
        w_retain, w_forget = direction.weights
        diagnostics = direction.diagnostics
        del direction  # a probe needs the memory of the gradients

        rate = self.scheduler.step(self.done, self.optimizer, self.parameters, losses)
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        self.interventions.settle(self.done)
        self.tokens += sum(
            total(*(sum(task.objective.tokens(one) for one in task.counted) for task in tasks))
        )
        both = w_retain + w_forget
        values: dict[str, Any] = {
            "epoch": round(self.done / self.batches.steps_per_epoch, 4),
            "train/retain_loss": _shown(self.method.retain, retain_loss),
            "train/forget_loss": _shown(self.method.forget, forget_loss),
            "train/weight_retain": w_retain,
            "train/weight_forget": w_forget,
            "train/retain_share": w_retain / both if both else 0.0,
            **diagnostics,
            "train/direction_norm": norm,
            "train/lr": rate.lr,
        }
        if rate.reason is not None:
            values |= {"train/lr_star": rate.lr_star, "train/lr_reason": rate.reason}
        return values

    def _losses(self, retain: Task, forget: Task, direction: Direction) -> StepLosses:
        """Return the losses that a scheduler may ask for along the step."""
        following = self.batches.step(self.done + 1)[1] if self.start is not None else []
        # What was taken in an intervention's context may be the loss of another model.
        known = (direction.retain_loss, direction.forget_loss)
        return StepLosses(
            self.model,
            self.compute,
            self.method,
            retain,
            forget,
            [batch.to(self.model.device) for batch in following],
            (None, None) if self.interventions.around else known,
            self.start,
        )

    def direction(self, retain: Task, forget: Task) -> Direction:
        """Return the combined gradient of a step; one backward pass where that is all it takes."""
        if self.method.single is not None:
            return self._of_one_task(retain, forget)
        weighting = self.method.weighting
        diagnosed = self.diagnose_every and self.done % self.diagnose_every == 0
        if weighting.fixed is not None and not diagnosed and not self.interventions.apart:
            retain_loss, forget_loss, gradient = weighted_gradient(
                self.model, retain, forget, weighting.fixed, self.parameters, self.compute
            )
            numbers = at_once(inner_product(gradient, gradient).sqrt(), retain_loss, forget_loss)
            norm, losses = numbers[0], (numbers[1], numbers[2])
            self._require_finite(*losses, {"direction norm": norm})
            unknown = dict.fromkeys(DIAGNOSTICS) if self.diagnose_every else {}
            return Direction(gradient, *losses, weighting.fixed, norm, unknown)

        (retain_loss, g_retain), (forget_loss, g_forget) = self._gradients(retain, forget)
        start = self.start if weighting.reads_target else None
        at_target = [] if start is None else sums_at_target(retain, start)
        products, numbers = gramian_and(g_retain, g_forget, [retain_loss, forget_loss, *at_target])
        losses = (numbers[0], numbers[1])
        norms = products.diagonal().sqrt().tolist()
        self._require_finite(*losses, {"retain norm": norms[0], "forget norm": norms[1]})
        if start is not None:
            weighting.expect(loss_at_target(retain, numbers[2:]))
        weights = weighting(products, torch.tensor(losses, dtype=torch.float64))
        named = {"retain norm": norms[0], "forget norm": norms[1]}
        self._require_finite(*losses, {**named, "w_retain": weights[0], "w_forget": weights[1]})
        w = torch.tensor(weights, dtype=torch.float64)
        norm = (w @ products @ w).clamp(min=0).sqrt().item()  # ‖d‖² = wᵀGw: no pass over d
        both = (g_retain, copied(g_forget)) if self.interventions.needs_both else None
        gradient = combine_(g_retain, g_forget, weights, self.model.device)
        return Direction(gradient, *losses, weights, norm, diagnose(products, weights), both)

    def _gradients(
        self, retain: Task, forget: Task
    ) -> tuple[tuple[Tensor, Gradient], tuple[Tensor, Gradient]]:
        """Return loss (scalar) and gradient of each task; the first may be parked."""
        beside = self.beside if not self.interventions.around and not self.parks else None
        if beside is not None and few_positions(retain) and few_positions(forget):
            return beside.gradients(retain, forget, self.compute)
        loss, gradient = self._gradient("retain", retain)
        if self.parks and not self.interventions.needs_both:
            gradient = parked(gradient)
        return (loss, gradient), self._gradient("forget", forget)

    def _gradient(self, name: str, task: Task) -> tuple[Tensor, Gradient]:
        """Return loss (scalar) and gradient of a task, in the context of the interventions."""
        return self.interventions.gradient(
            name, lambda: task_gradient(self.model, task, self.parameters, self.compute)
        )

    def _forgetting(self) -> Gradient:
        """Return the gradient of the forget loss over all forget rows."""
        batches = [batch.to(self.model.device) for batch in self.batches.every("forget")]
        task = Task(self.method.forget, batches)
        return task_gradient(self.model, task, self.parameters, self.compute)[1]

    def _of_one_task(self, retain: Task, forget: Task) -> Direction:
        """Return the gradient of the only task there is: with one there is nothing to weigh."""
        task = retain if self.method.retain.trains else forget
        loss, gradient = self._gradient("retain" if task is retain else "forget", task)
        norm, value = at_once(inner_product(gradient, gradient).sqrt(), loss)
        retain_loss, forget_loss = (value, None) if task is retain else (None, value)
        self._require_finite(retain_loss, forget_loss, {"direction norm": norm})
        weights = (1.0, 0.0) if task is retain else (0.0, 1.0)
        return Direction(gradient, retain_loss, forget_loss, weights, norm, {})

    def _require_finite(
        self, retain_loss: float | None, forget_loss: float | None, numbers: dict[str, float]
    ) -> None:
        losses = {"retain loss": retain_loss, "forget loss": forget_loss}
        every = {name: loss for name, loss in losses.items() if loss is not None} | numbers
        if all(math.isfinite(value) for value in every.values()):
            return
        said = ", ".join(f"{name} {value:.4g}" for name, value in every.items())
        raise NumericalError(
            f"step {self.done + 1}, method {self.method.name}: a number is not finite ({said}). "
            "Try a smaller optimizer.lr, scheduler=gen, or method=ngdiff (a bounded direction)"
        )

    def _clip(self, direction: Direction) -> float:
        """Scale the combined direction down to the norm `clip`, in place; return its norm."""
        if self.clip is None or direction.norm <= self.clip:
            return direction.norm
        present: Sequence[Tensor] = [part for part in direction.gradient if part is not None]
        torch._foreach_mul_(list(present), self.clip / direction.norm)
        return self.clip


def _shown(objective: Objective, loss: float | None) -> float | None:
    """Return what the record shows of a mean loss; None where the task is left out."""
    return None if loss is None else objective.shown(loss)


def _note(values: dict[str, Any]) -> str:
    """Return what the progress bar says of a step."""
    losses = {task: values[f"train/{task}_loss"] for task in ("forget", "retain")}
    said = [f"{task} {loss:.3g}" for task, loss in losses.items() if loss is not None]
    return ", ".join([*said, f"lr {values['train/lr']:.2g}"])
