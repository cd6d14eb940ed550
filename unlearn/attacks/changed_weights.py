"""The answers scored with the weights of all linear layers changed, each way from the originals."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from unlearn.attacks.base import Subject, answer_probability
from unlearn.attacks.rounding import linear_weights
from unlearn.metrics.memorization import extraction_strength
from unlearn.metrics.tofu import probability

DETAILS = ("probability", "extraction_strength", "retain_probability")
"""What is told of every way, behind its name."""


def scored_with(
    subject: Subject, ways: Mapping[str, Callable[[Tensor], Tensor]]
) -> dict[str, float | None]:
    """Return the :data:`DETAILS` of every way, which makes new weights (outputs, inputs) of old."""
    layers = list(linear_weights(subject.model))
    originals = [weight.to("cpu", copy=True) for weight in layers]
    answers = [*subject.answers("forget"), *subject.answers("retain")]
    details: dict[str, float | None] = {}
    for name, changed in ways.items():
        with torch.no_grad():
            for weight, original in zip(layers, originals, strict=True):
                weight.copy_(changed(original.to(weight.device)))
        scores = subject.score(answers)
        forget, retain = (scores[scores["split"] == split] for split in ("forget", "retain"))
        details[f"{name}_probability"] = answer_probability(forget)
        details[f"{name}_extraction_strength"] = extraction_strength(
            forget, subject.suite.config.end_token
        )
        details[f"{name}_retain_probability"] = probability(retain) if len(retain) else None
    return details


def most_found(details: Mapping[str, float | None]) -> float:
    """Return the highest probability of the forget answers over all ways."""
    ends, kept = "_probability", "_retain_probability"
    found = [x for name, x in details.items() if name.endswith(ends) and not name.endswith(kept)]
    return max(x or 0.0 for x in found)
