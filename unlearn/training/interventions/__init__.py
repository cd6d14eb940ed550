"""Interventions: what happens around a step and is neither a loss nor a pair of weights."""

from unlearn.training.direction import Direction
from unlearn.training.interventions.averaged_gru import GRU
from unlearn.training.interventions.base import Intervention, Start, TaskAtStep
from unlearn.training.interventions.sago import SAGO
from unlearn.training.interventions.saliency_mask import SaliencyMask
from unlearn.training.interventions.sam import SAM
from unlearn.training.interventions.several import Interventions
from unlearn.training.interventions.task_vector import TaskVector
from unlearn.training.interventions.undo import UNDO

__all__ = [
    "GRU",
    "SAGO",
    "SAM",
    "UNDO",
    "Direction",
    "Intervention",
    "Interventions",
    "SaliencyMask",
    "Start",
    "TaskAtStep",
    "TaskVector",
]
