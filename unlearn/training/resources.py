"""What objectives may ask a run for before the first step; made on demand, and once.

Constants of a row (its sum under the target, its level under the reference) are scored and kept in
the cache: no second model lies in memory for them. A frozen copy of the target is made only for an
objective that compares whole distributions or hidden states.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.console.once import say_once
from unlearn.data.splits import Row, Splits
from unlearn.data.tokens import Encoder, Example, encode_rows
from unlearn.errors import ConfigurationError
from unlearn.evaluation.sums import sums_once
from unlearn.objectives.levels import ADVICE

log = logging.getLogger(__name__)


@dataclass
class RunResources:
    """What both tasks share: the models, and how to score with them."""

    model: LanguageModel
    """The model that is about to be trained; still the target."""
    splits: Splits
    encoder: Encoder
    compute: Compute
    target_sha256: str | None
    load_reference: Callable[[], LanguageModel] | None
    """None where the run has no retain-only model."""
    target_key: str | None = None
    """Names the target's scores in the cache; None keeps none."""
    reference_key: str | None = None
    _frozen: Any = field(default=None, repr=False)
    _levels: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @cached_property
    def forget(self) -> list[Example]:
        """The forget rows as ids."""
        return encode_rows(self.encoder, self.splits.forget)

    def frozen_target(self) -> Any:
        """Return the one copy of the target that does not change."""
        if self._frozen is None:
            log.info("a frozen copy of the target is kept in memory for this method")
            self._frozen = copy.deepcopy(self.model).requires_grad_(False).eval()
        return self._frozen

    def target_sums(self, examples: Sequence[Example]) -> Tensor:
        """Return S of every example under the target, (N,) float32, on the device."""
        return self._sums(lambda: self.model, self.target_key, examples, "scoring the target")

    def level(self, name: str) -> Tensor:
        """Return the NLL per token that each forget row should reach, (N,), on the device.

        Raises ConfigurationError where no reference is there.
        """
        if name == "auto":
            here = self.load_reference is None and self.splits.unseen is not None
            name = "holdout" if here else "reference"
            say_once(log, f"level: auto, which is {name} here")
        if name not in self._levels:
            level = self._holdout_level() if name == "holdout" else self._reference_level()
            self._levels[name] = level
        return self._levels[name]

    def forget_loss(self) -> float:
        """Return the mean NLL per token over the forget rows under the model as it is now."""
        sums = self._sums(lambda: self.model, None, self.forget, "is it enough?")
        return (sums.cpu() / _answer_tokens(self.forget)).mean().item()

    def _holdout_level(self) -> Tensor:
        assert self.splits.unseen is not None  # checked before any model was loaded
        rows = encode_rows(self.encoder, self.splits.evaluated[self.splits.unseen])
        losses = self.target_sums(rows) / _answer_tokens(rows).to(self.model.device)
        return losses.mean().expand(len(self.forget))

    def _reference_level(self) -> Tensor:
        if self.load_reference is None:
            raise ConfigurationError(f"level: this run has no retain-only model; {ADVICE}")
        title = "scoring the reference"
        sums = self._sums(self.load_reference, self.reference_key, self.forget, title)
        return sums / _answer_tokens(self.forget).to(self.model.device)

    def of_task(self, rows: Sequence[Row]) -> TaskResources:
        """Return the resources of the task with these rows."""
        return TaskResources(self, rows)

    def _sums(
        self,
        load: Callable[[], LanguageModel],
        key: str | None,
        examples: Sequence[Example],
        title: str,
    ) -> Tensor:
        sums = sums_once(load, key, examples, self.compute, title)
        return sums.to(self.model.device)


class TaskResources:
    """The resources as the objective of one task sees them (:class:`objectives.Resources`)."""

    def __init__(self, run: RunResources, rows: Sequence[Row]) -> None:
        self.run, self.rows = run, rows
        self.model = run.model
        self.examples: Sequence[Example] = encode_rows(run.encoder, list(rows))
        self.target_sums = run.target_sums
        self.frozen_target = run.frozen_target
        self.level = run.level

    def encode(self, answers: Sequence[str]) -> list[Example]:
        """Return the task's questions, each with another answer."""
        encode = self.run.encoder.encode
        return [
            encode(row.question, answer, row.before)
            for row, answer in zip(self.rows, answers, strict=True)
        ]


def _answer_tokens(examples: Sequence[Example]) -> Tensor:
    return torch.tensor([len(example.answer) for example in examples], dtype=torch.float32)
