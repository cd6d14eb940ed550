"""Objectives: each turns a batch into a loss to *minimise*, as a sum with its count.

Whoever calls an objective divides by the count of the whole logical batch, over all micro-batches,
so that gradients are of total sum / total count and never of means of means.
"""

from unlearn.objectives.ascent import Ascent
from unlearn.objectives.base import Objective
from unlearn.objectives.nll import NegativeLogLikelihood

__all__ = ["Ascent", "NegativeLogLikelihood", "Objective"]
