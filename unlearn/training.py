"""The loop: for each pair of batches two gradients, their Gramian, weights, one step."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from unlearn.data.batches import PairedBatches
from unlearn.errors import NumericalError
from unlearn.gradients import (
    Gradient,
    Task,
    combine_,
    gramian,
    inner_product,
    task_gradient,
    task_loss,
    weighted_gradient,
)
from unlearn.objectives import Objective
from unlearn.progress import progress
from unlearn.schedulers import Scheduler
from unlearn.weightings import Weighting, diagnose

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Method:
    """A method is a forget objective × a retain objective × a weighting."""

    forget: Objective
    retain: Objective
    weighting: Weighting
    name: str = "custom"


@dataclass(frozen=True)
class Direction:
    """The combined gradient of one step, with what is known about it."""

    gradient: Gradient
    retain_loss: float
    forget_loss: float
    weights: tuple[float, float]
    norm: float
    diagnostics: dict[str, float]
    retain_gradient: Gradient | None = None
    """g_retain, where the scheduler asked for it."""


class Trainer:
    """Unlearns: advances `model` step by step."""

    def __init__(
        self,
        model: Any,
        method: Method,
        scheduler: Scheduler,
        optimizer: Optimizer,
        batches: PairedBatches,
        steps: int,
        autocast: AbstractContextManager,
        clip: float | None = None,
        keep: Callable[[int], None] | None = None,
    ) -> None:
        """`keep` receives the number of steps done whenever the weights have just proved good:
        losses, norms and direction at them are finite, and nothing has moved yet."""
        self.model, self.method = model, method
        self.scheduler, self.optimizer = scheduler, optimizer
        self.batches, self.steps = batches, steps
        self.autocast, self.clip, self.keep = autocast, clip, keep
        self.parameters: list[Parameter] = [p for p in model.parameters() if p.requires_grad]
        self.done = 0
        self.tokens = 0
        scheduler.begin(optimizer.param_groups[0]["lr"], steps)

    def run(
        self,
        on_step: Callable[[int, dict[str, Any]], None],
        after_step: Callable[[int], None],
    ) -> None:
        """Take the steps that are left.

        `on_step` receives the number of the finished step, counted from 1, and its line for the
        record; `after_step` may evaluate or save. Raises NumericalError where a number is not
        finite; the parameters then are those of the last step.
        """
        started = time.monotonic()
        with progress("unlearning", self.steps) as bar:
            bar.advance(by=self.done)
            while self.done < self.steps:
                values = self.step()
                values["seconds"] = round(time.monotonic() - started, 3)
                on_step(self.done, values)
                note = f"forget {values['train/forget_loss']:.3g}, retain "
                bar.advance(f"{note}{values['train/retain_loss']:.3g}, lr {values['train/lr']:.2g}")
                after_step(self.done)

    def step(self) -> dict[str, Any]:
        """Take one step and return its line for the record."""
        forget_batches, retain_batches = self.batches.step(self.done)
        device = self.model.device
        retain = Task(self.method.retain, [batch.to(device) for batch in retain_batches])
        forget = Task(self.method.forget, [batch.to(device) for batch in forget_batches])
        direction = self.direction(retain, forget)
        if self.keep is not None:
            self.keep(self.done)
        norm = self._clip(direction)
        for parameter, part in zip(self.parameters, direction.gradient, strict=True):
            parameter.grad = part
        retain_loss, forget_loss = direction.retain_loss, direction.forget_loss
        w_retain, w_forget = direction.weights
        diagnostics = direction.diagnostics
        retain_gradient = direction.retain_gradient
        del direction  # a probe needs the memory of the gradients

        rate = self.scheduler.step(
            self.done,
            self.optimizer,
            self.parameters,
            lambda: task_loss(self.model, retain, self.autocast).item(),
            retain_loss,
            retain_gradient,
        )
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        self.tokens += sum(int(b.attention_mask.sum()) for b in forget_batches + retain_batches)
        total = w_retain + w_forget
        values: dict[str, Any] = {
            "epoch": round(self.done / self.batches.steps_per_epoch, 4),
            "train/retain_loss": self.method.retain.shown(retain_loss),
            "train/forget_loss": self.method.forget.shown(forget_loss),
            "train/weight_retain": w_retain,
            "train/weight_forget": w_forget,
            "train/retain_share": w_retain / total if total else 0.0,
            **diagnostics,
            "train/direction_norm": norm,
            "train/lr": rate.lr,
        }
        if rate.reason is not None:
            values |= {"train/lr_star": rate.lr_star, "train/lr_reason": rate.reason}
        return values

    def direction(self, retain: Task, forget: Task) -> Direction:
        """Return the combined gradient of a step; one backward pass where the weights are fixed."""
        weighting = self.method.weighting
        if weighting.fixed is not None:
            retain_loss, forget_loss, gradient = weighted_gradient(
                self.model, retain, forget, weighting.fixed, self.parameters, self.autocast
            )
            losses = (retain_loss.item(), forget_loss.item())
            norm = inner_product(gradient, gradient).sqrt().item()
            self._require_finite(losses, {"direction norm": norm})
            return Direction(gradient, *losses, weighting.fixed, norm, {})

        retain_loss, g_retain = task_gradient(self.model, retain, self.parameters, self.autocast)
        forget_loss, g_forget = task_gradient(self.model, forget, self.parameters, self.autocast)
        products = gramian(g_retain, g_forget)
        losses = (retain_loss.item(), forget_loss.item())
        norms = products.diagonal().sqrt().tolist()
        self._require_finite(losses, {"retain norm": norms[0], "forget norm": norms[1]})
        weights = weighting(products, torch.tensor(losses, dtype=torch.float64))
        named = {"retain norm": norms[0], "forget norm": norms[1]}
        self._require_finite(losses, {**named, "w_retain": weights[0], "w_forget": weights[1]})
        w = torch.tensor(weights, dtype=torch.float64)
        norm = (w @ products @ w).clamp(min=0).sqrt().item()  # ‖d‖² = wᵀGw: no pass over d
        gradient = combine_(g_retain, g_forget, weights)
        kept = g_retain if self.scheduler.needs_retain_gradient(self.done) else None
        return Direction(gradient, *losses, weights, norm, diagnose(products, weights), kept)

    def _require_finite(self, losses: tuple[float, float], numbers: dict[str, float]) -> None:
        every = {"retain loss": losses[0], "forget loss": losses[1], **numbers}
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
