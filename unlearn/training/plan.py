"""How long a run is, and how often it looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from unlearn.data.batches import PairedBatches
from unlearn.metrics.catalogue import Way
from unlearn.options.schema import EvaluationConfig, EvaluationUnit, ModelConfig, TrainingConfig
from unlearn.schedulers import Scheduler
from unlearn.training.method import Method

LEAST_STEPS, RETAIN_PASSES, MOST_STEPS = 150, 6, 1500
"""How long a run is by default: so many steps, or so many passes over the retain set if longer, but
no longer than the last, which is what all of TOFU's retain rows come to (1,425 steps)."""


@dataclass(frozen=True)
class Plan:
    """What a training is told: the method, the rate, how long, and when to look."""

    method: Method
    scheduler: Scheduler
    optimizer: Callable[[Any], torch.optim.Optimizer]
    training: TrainingConfig
    evaluation: EvaluationConfig
    model: ModelConfig
    seed: int
    better: Way = None
    """Which values of evaluation.best are good."""


def number_of_steps(training: TrainingConfig, batches: PairedBatches, method: Method) -> int:
    """Return the configured number of steps, or the default for this amount of data."""
    if training.steps is not None:
        return training.steps
    if training.epochs is not None:
        return max(1, round(training.epochs * batches.steps_per_epoch))
    if not method.retain.trains:
        return LEAST_STEPS
    retain = batches.orders["retain"]
    passes = round(RETAIN_PASSES * retain.rows / retain.batch_size)
    return min(max(LEAST_STEPS, passes), MOST_STEPS)


def announced(steps: int, training: TrainingConfig, batches: PairedBatches) -> str:
    """Return how long a run will be, in steps and in passes over the rows, and what decided it."""
    passes = " and ".join(
        f"{steps * order.batch_size / order.rows:.3g} over the {order.rows} {task} rows"
        for task, order in batches.orders.items()
    )
    chosen = training.steps is not None or training.epochs is not None
    reason = "" if chosen else "; the default for so many rows, training.steps changes it"
    return f"{steps} steps: passes, {passes}{reason}"


def steps_between(evaluation: EvaluationConfig, batches: PairedBatches) -> int:
    """Return the steps between evaluations, 0 for none."""
    epochs = evaluation.unit is EvaluationUnit.epochs
    return evaluation.every * (batches.steps_per_epoch if epochs else 1)
