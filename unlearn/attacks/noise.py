"""Noise: does what was forgotten come back when every weight is disturbed a little?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.attacks.base import Attack, Found, Subject
from unlearn.attacks.changed_weights import DETAILS, most_found, scored_with
from unlearn.attacks.pruning import percent_problems
from unlearn.metrics.catalogue import Way
from unlearn.options.declared import SEED, Range, option, range_problems, refuse


@dataclass
class Noise(Attack):
    """Score the forget rows with Gaussian noise on the weights of every linear layer.

    w + σ·ε, ε drawn from N(0, 1) by `seed`, σ = so many percent of the layer's own √(mean w²). x =
    mean probability exp(−mean NLL) of the forget answers; the strength that brings back most
    counts. A model that was taught to hold back says more under noise than without (Tice et al.
    2024, arXiv 2412.01784, with one σ for all layers and several draws). Embeddings and output
    layer stay as they are. The retain rows' probability is told beside it.

    Raises ConfigurationError for a strength that is not allowed.
    """

    examples = ("", "attack.noise.percent=[2,5] attack.noise.seed=7")

    percent: list[int] = option([1, 3, 10], Range("each 1 to 100"))
    """Strength of the noise, in percent of the root mean square of a layer's weights."""
    seed: int = option(0, SEED, "${seed}")
    """Which noise; the strengths share it."""

    def __post_init__(self) -> None:
        refuse(*range_problems(self), *percent_problems(self.percent, 100))

    def names(self) -> list[str]:
        return [f"percent_{strength}_{kind}" for strength in self.percent for kind in DETAILS]

    def directions(self) -> Mapping[str, Way]:
        return {f"percent_{strength}_retain_probability": "higher" for strength in self.percent}

    def run(self, subject: Subject) -> Found:
        strengths = {f"percent_{p}": disturbed(p, self.seed) for p in self.percent}
        details, notes = scored_with(subject, strengths), list[str]()
        return Found(subject.recovered(most_found(details), notes), details, notes)


def disturbed(percent: int, seed: int) -> Callable[[Tensor], Tensor]:
    """Return what adds the noise, to be called with the weights of each layer in turn.

    Drawn on the CPU by a generator of its own, so that every device sees the same noise.
    """
    generator = torch.Generator().manual_seed(seed)

    def add(weight: Tensor) -> Tensor:
        noise = torch.randn(weight.shape, generator=generator).to(weight.device)
        root = weight.float().square().mean().sqrt()
        return (weight.float() + percent / 100 * root * noise).to(weight.dtype)

    return add
