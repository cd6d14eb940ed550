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

LEAST_STEPS, RETAIN_PASSES = 150, 6
"""How long a run is by default: so many steps, or so many passes over the retain set if longer."""


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
    return max(LEAST_STEPS, round(RETAIN_PASSES * retain.rows / retain.batch_size))


def steps_between(evaluation: EvaluationConfig, batches: PairedBatches) -> int:
    """Return the steps between evaluations, 0 for none."""
    epochs = evaluation.unit is EvaluationUnit.epochs
    return evaluation.every * (batches.steps_per_epoch if epochs else 1)
