"""What objectives may ask a run for before the first step; made on demand, and once.

Constants of a row (its sum under the target, its level under the reference) are scored and kept in
the cache: no second model lies in memory for them. A frozen copy of the target is made only for an
objective that compares whole distributions or hidden states, and not even then where an adapter is
trained: without it the model is the target.
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
from unlearn.compute.memory import explaining_memory
from unlearn.compute.model import LanguageModel
from unlearn.compute.undisturbed import generators_kept
from unlearn.console.once import say_once
from unlearn.console.progress import progress
from unlearn.data.batches import SeededOrder
from unlearn.data.splits import Row, Splits
from unlearn.data.tokens import Encoder, Example, encode_rows
from unlearn.errors import ConfigurationError
from unlearn.evaluation.sums import sums_once, token_losses_once
from unlearn.models.fine_tune import learn_batch, make_optimizer
from unlearn.models.lora import Adapter
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
    adapter: Adapter | None = None
    """What is trained in place of the model's weights; None where they are."""
    load_target: Callable[[], LanguageModel] | None = None
    """Returns the target once more, where the model cannot be copied: a sharded one."""
    _frozen: Any = field(default=None, repr=False)
    _levels: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @cached_property
    def forget(self) -> list[Example]:
        """The forget rows as ids."""
        return encode_rows(self.encoder, self.splits.forget)

    def frozen_target(self) -> Any:
        """Return the target as it stays: the model without its adapter, or the one copy of it."""
        if self.adapter is not None:
            return self.adapter.base
        if self._frozen is None:
            log.info("a frozen copy of the target is kept in memory for this method")
            self._frozen = self.copied_target().requires_grad_(False).eval()
        return self._frozen

    def copied_target(self) -> Any:
        """Return the target once more, with an adapter that has learnt nothing where one trains."""
        return copy.deepcopy(self.model) if self.load_target is None else self.load_target()

    def target_sums(self, examples: Sequence[Example]) -> Tensor:
        """Return S of every example under the target, (N,) float32, on the device."""
        return self._sums(lambda: self.model, self.target_key, examples, "scoring the target")

    @property
    def has_level(self) -> bool:
        """Whether this run knows a level of forgetting that is enough."""
        return self.load_reference is not None or self.splits.unseen is not None

    def level(self, name: str) -> Tensor:
        """Return the NLL per token that each forget row should reach, (N,), on the device.

        Raises ConfigurationError where no reference is there.
        """
        name = self._name_of(name)
        if name not in self._levels:
            level = self._holdout_level() if name == "holdout" else self._reference_level()
            self._levels[name] = level
        return self._levels[name]

    def token_levels(self, name: str) -> list[Tensor] | None:
        """Return the NLL that each token of each forget row should reach, N tensors, on the device.

        None where the level is not the reference's, which alone is known token by token.
        """
        self.level(name)
        return self._of_reference if self._name_of(name) == "reference" else None

    def forget_loss(self) -> float:
        """Return the mean NLL per token over the forget rows under the model as it is now."""
        sums = self._sums(lambda: self.model, None, self.forget, "is it enough?")
        return (sums.cpu() / _answer_tokens(self.forget)).mean().item()

    def _name_of(self, name: str) -> str:
        if name != "auto":
            return name
        here = self.load_reference is None and self.splits.unseen is not None
        found = "holdout" if here else "reference"
        say_once(log, f"level: auto, which is {found} here")
        return found

    def _holdout_level(self) -> Tensor:
        assert self.splits.unseen is not None  # checked before any model was loaded
        rows = encode_rows(self.encoder, self.splits.evaluated[self.splits.unseen])
        losses = self.target_sums(rows) / _answer_tokens(rows).to(self.model.device)
        return losses.mean().expand(len(self.forget))

    def _reference_level(self) -> Tensor:
        return torch.stack([losses.mean() for losses in self._of_reference])

    @cached_property
    def _of_reference(self) -> list[Tensor]:
        """NLL of every answer token of every forget row under the reference."""
        if self.load_reference is None:
            raise ConfigurationError(f"level: this run has no retain-only model; {ADVICE}")
        load, key, title = self.load_reference, self.reference_key, "scoring the reference"
        losses = token_losses_once(load, key, self.forget, self.compute, title)
        return [row.to(self.model.device) for row in losses]

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
        self.level, self.token_levels = run.level, run.token_levels

    def reinforced(self, steps: int, lr: float, batch_size: int, seed: int) -> Any:
        """Return a copy of the target that has learnt the task's rows `steps` steps further."""
        model, compute = self.run.copied_target(), self.run.compute
        optimizer = make_optimizer(model, lr)
        order = SeededOrder(len(self.examples), batch_size, seed, "reinforced")
        less = "lower method.forget.batch_size or model.max_length"
        with generators_kept(), progress("learning the rows further", steps) as bar:
            for step in range(steps):
                batch = [self.examples[row] for row in order.batch(step)]
                with explaining_memory(f"learning the rows further, step {step + 1}", less):
                    learn_batch(model, optimizer, batch, len(batch), compute)
                bar.advance()
        return model.requires_grad_(False).eval()

    def encode(self, answers: Sequence[str]) -> list[Example]:
        """Return the task's questions, each with another answer."""
        encode = self.run.encoder.encode
        return [
            encode(row.question, answer, row.before)
            for row, answer in zip(self.rows, answers, strict=True)
        ]


def _answer_tokens(examples: Sequence[Example]) -> Tensor:
    return torch.tensor([len(example.answer) for example in examples], dtype=torch.float32)
