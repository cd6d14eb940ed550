"""Pruning: does what was forgotten come back when the smallest weights are left out?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from unlearn.attacks.base import Attack, Found, Subject
from unlearn.attacks.changed_weights import DETAILS, most_found, scored_with
from unlearn.metrics.catalogue import Way
from unlearn.options.declared import Range, option, range_problems, refuse


@dataclass
class Pruning(Attack):
    """Score the forget rows with the smallest weights of every linear layer set to zero.

    x = mean probability exp(−mean NLL) of the forget answers; the share of weights that brings back
    most counts. Magnitude pruning, layer by layer (Han et al. 2015, arXiv 1506.02626): what
    unlearning added in small steps goes first. Embeddings and output layer stay as they are, and
    nothing is trained afterwards. The retain rows' probability is told beside it: at a share at
    which that is lost, too, nothing follows from a low one.

    Raises ConfigurationError for a share that is not allowed.
    """

    examples = ("", "attack.pruning.percent=[20,40]")

    percent: list[int] = option([10, 30, 50], Range("each 1 to 99"))
    """Weights of a layer that are set to zero, in percent of them."""

    def __post_init__(self) -> None:
        refuse(*range_problems(self), *percent_problems(self.percent, 99))

    def names(self) -> list[str]:
        return [f"percent_{share}_{kind}" for share in self.percent for kind in DETAILS]

    def directions(self) -> Mapping[str, Way]:
        return {f"percent_{share}_retain_probability": "higher" for share in self.percent}

    def run(self, subject: Subject) -> Found:
        shares = {f"percent_{p}": partial(without_smallest, percent=p) for p in self.percent}
        details, notes = scored_with(subject, shares), list[str]()
        return Found(subject.recovered(most_found(details), notes), details, notes)


def without_smallest(weight: Tensor, percent: int) -> Tensor:
    """Return the weights with so many percent of them, the smallest by |w|, set to zero.

    The count is rounded down; of equal weights the first ones go.
    """
    flat = weight.flatten().clone()
    smallest = flat.abs().argsort(stable=True)[: flat.numel() * percent // 100]
    flat[smallest] = 0
    return flat.view_as(weight)


def percent_problems(percent: list[int], most: int) -> list[str]:
    """Return what is wrong with a list of whole percentages, each once and 1 to `most`."""
    if not percent:
        return [f"percent: empty; give some of 1 to {most}"]
    return [
        f"percent: {share}; allowed: 1 to {most}, each once"
        for share in dict.fromkeys(percent)
        if not 1 <= share <= most or percent.count(share) > 1
    ]
