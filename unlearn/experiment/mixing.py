"""The model before unlearning and the one after, mixed until what is kept comes up to a level.

So that two methods are compared by what they forgot where they keep equally much. After UWC (Wang
et al. 2024, arXiv 2406.09179), which mixes weights as model soups do (arXiv 2203.05482).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from unlearn.compute.model import LanguageModel
from unlearn.errors import ConfigurationError
from unlearn.experiment.bench import Bench, Load
from unlearn.metrics.tofu import probability

log = logging.getLogger(__name__)

STEPS = 7
"""Halvings of the search: the share is found to 1/128."""


@dataclass(frozen=True)
class Mixed:
    """How much of unlearning is left where so much of the retain rows' probability is kept."""

    level: float
    """What was asked for, a share of retain/probability before unlearning."""
    share: float
    """α of θ_before + α(θ_after − θ_before)."""
    kept: float
    """The share of retain/probability that the mix keeps."""

    @property
    def told(self) -> str:
        """What tells the evaluation from one of the run as it is, in a comparison's labels."""
        return f"at_retain={self.level:g}"

    @property
    def record(self) -> dict[str, Any]:
        """What the record of the evaluation says of it."""
        return asdict(self)


class Mixer:
    """A model whose weights can be put anywhere on the line from before to after."""

    def __init__(self, model: LanguageModel, before: LanguageModel) -> None:
        """`model` is the one after unlearning, and the one that is changed."""
        self.model = model
        self.after = [parameter.detach().cpu().clone() for parameter in model.parameters()]
        self.before = [parameter.detach().cpu() for parameter in before.parameters()]
        if [w.shape for w in self.after] != [w.shape for w in self.before]:
            raise ConfigurationError(
                "--at-retain: the models before and after have not the same weights"
            )

    @torch.no_grad()
    def put(self, share: float) -> None:
        """Set the weights to θ_before + share·(θ_after − θ_before), in at least float32.

        At 0 and 1 they are those of before and after to the last bit.
        """
        for parameter, old, new in zip(
            self.model.parameters(), self.before, self.after, strict=True
        ):
            if share in (0, 1):
                parameter.copy_(new if share else old)
                continue
            dtype = torch.promote_types(new.dtype, torch.float32)
            parameter.copy_(old.to(dtype) + share * (new.to(dtype) - old.to(dtype)))


def largest_share(kept: Callable[[float], float], level: float) -> float:
    """Return the largest α in [0, 1] with kept(α) ≥ level, to 1/2^:data:`STEPS` and from below.

    kept(0) = 1 ≥ level. 1 where nothing has to be mixed. What is kept may go up and down between:
    a point is found at which it crosses the level.
    """
    if kept(1.0) >= level:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if kept(middle) >= level:
            low = middle
        else:
            high = middle
    return low


def mixed_at(bench: Bench, after: Load, before: Load, level: float) -> tuple[LanguageModel, Mixed]:
    """Return the model that keeps `level` of retain/probability before, and how it was mixed.

    The bench has measured the model before. Raises ConfigurationError without retain rows.
    """
    answers = [a for a in bench.suite.answers if a.split == "retain" and a.kind == "answer"]
    if not answers:
        raise ConfigurationError("--at-retain: no retain rows are scored, so there is no level")
    table = bench.stages["before"].scores
    whole = probability(table[table["split"] == "retain"])
    mixer = Mixer(after(), before())
    known: dict[float, float] = {0.0: 1.0}

    def kept(share: float) -> float:
        if share not in known:
            mixer.put(share)
            found = bench.suite.score_answers(mixer.model, answers, f"mix {share:.4g}")
            known[share] = probability(found) / whole
            log.info("a share of %.4g of unlearning keeps %.4f", share, known[share])
        return known[share]

    share = largest_share(kept, level)
    mixer.put(share)
    return mixer.model, Mixed(level, share, kept(share))
