"""What an attack is, what it is given, and how much of the forgotten it found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import torch

from unlearn.attacks.findings import Findings
from unlearn.compute.model import LanguageModel
from unlearn.compute.undisturbed import generators_kept
from unlearn.console.signals import held, obeyed
from unlearn.data.splits import Row, Splits
from unlearn.evaluation.asking import Ask
from unlearn.evaluation.results import Evaluation
from unlearn.evaluation.scoring import Scored, score
from unlearn.evaluation.suites import Suite
from unlearn.forward.generation import generate
from unlearn.metrics.catalogue import Way
from unlearn.metrics.table import mean_nll
from unlearn.metrics.text import mean_recall
from unlearn.options.beside import Beside
from unlearn.options.declared import Declared

LEAST_DISTANCE = 0.01
"""Least x_before − x_after that a share is taken of; all our x lie in [0, 1]."""


class Target:
    """A model that subjects are compared with; what an attack finds in it is found once for all.

    Mostly the model before unlearning.
    """

    def __init__(
        self,
        measured: Evaluation,
        load: Callable[[], LanguageModel] | None = None,
        key: str | None = None,
    ) -> None:
        """`load` returns the model anew; None where it cannot be had, only its evaluation.

        `key` names it by all that can change a number (:func:`unlearn.models.identity.key_of`).
        """
        self.measured, self.load, self.key = measured, load, key
        self._found: dict[str, Any] = {}

    def find(self, name: str, measure: Callable[[Any], Any]) -> Any:
        """Return `measure(target)`, made at the first call under this name; None without model."""
        if name not in self._found:
            if self.load is None:
                return None
            self._found[name] = measure(self.load())
        return self._found[name]


@dataclass(frozen=True)
class Subject:
    """A model under attack, with what it is measured by and compared with."""

    stage: str
    """after or reference; a word for progress bars."""
    model: LanguageModel
    """Given back as it was, bit by bit."""
    suite: Suite
    """Rows, ids, precision and limits of an evaluation."""
    splits: Splits
    """All rows, for an attack that needs others than the scored ones."""
    measured: Evaluation
    """What is known of `model` without any attack."""
    target: Target | None
    """The model before unlearning; None: details only, no shares."""
    reference: Target | None = None
    """A model that never saw the forget rows, for an attack that measures beside it."""
    findings: Findings | None = None
    """What earlier runs found in target and reference; None: nothing is looked up."""

    def found_once(self, attack: Attack, what: str, find: Callable[[], Any]) -> Any:
        """Return `find()`, from the cache where an earlier run found the same.

        For what depends on target and reference alone, never on the unlearned model; as JSON holds
        it.
        """
        known = attack.identity
        if self.findings is None or known is None:
            return find()
        return self.findings.once(known, what, find)

    def found_in_target(self, attack: Attack, measure: Callable[[LanguageModel], Any]) -> Any:
        """Return `measure(target)`, made once for all runs and stages; None without the model."""
        target = self.target
        if target is None or target.load is None:
            return None
        return self.found_once(attack, "target", lambda: target.find(repr(attack), measure))

    def answers(self, split: str) -> list[Scored]:
        """Return the true answers of a split as ids, in the order of its rows."""
        return [a for a in self.suite.answers if a.split == split and a.kind == "answer"]

    def score(self, answers: Sequence[Scored], model: LanguageModel | None = None) -> pd.DataFrame:
        """Return the score table of `answers` under the model (another one, where given)."""
        suite = self.suite
        return score(
            self.model if model is None else model,
            answers,
            suite.compute,
            f"{self.stage}: attacked",
            hits_of=("forget",),
        )

    def recall(
        self, asked: Sequence[Ask], how: str, model: LanguageModel | None = None
    ) -> float | None:
        """Return the mean ROUGE-L recall of the truths in what the model says when asked.

        `how` tells the questions on the progress bar; None where no truth has a word.
        """
        suite = self.suite
        texts = generate(
            self.model if model is None else model,
            suite.encoder,
            [one.prompt for one in asked],
            suite.compute,
            [one.most for one in asked],
            f"{self.stage}: answering {how}",
        )
        return mean_recall(zip([one.truth for one in asked], texts, strict=True), suite.words)

    @property
    def questions(self) -> list[Ask]:
        """What is asked of the forget rows, in their order."""
        return [one for one in self.suite.asked if one.split == "forget"]

    def recovered(
        self, probability: float, notes: list[str], rows: Sequence[int] | None = None
    ) -> float | None:
        """Return the share of the forget answers' probability that an attack brought back.

        See :func:`recovered`; `rows` takes the forget rows of those indexes only.
        """
        before = answer_probability(self.target.measured.scores, rows) if self.target else None
        after = answer_probability(self.measured.scores, rows)
        return recovered(probability, after, before, notes)


@dataclass(frozen=True)
class Found:
    """What an attack found."""

    recovered: float | None
    """The recovered share; None where it cannot be had, and a note says why."""
    details: dict[str, float | None] = field(default_factory=dict)
    """By the part of the metric's name after `attack/NAME_`."""
    notes: list[str] = field(default_factory=list)


class Attack(Declared):
    """A way of getting at what a model seems to have forgotten; subclasses are dataclasses."""

    changes_weights: bool = True
    """Whether the model's weights move on the way; they are then kept and put back afterwards."""
    gives_share: bool = True
    """Whether it gives a recovered share; else what it measures are details alone."""

    @property
    def identity(self) -> str | None:
        """All of it that can change a finding, as text, so that findings may be kept.

        None for an attack that is not ours: its code may change, and nobody would notice.
        """
        return repr(self) if self.ours else None

    def names(self) -> list[str]:
        """Return the details that :meth:`run` will give, so that a condition may name them."""
        return []

    def directions(self) -> Mapping[str, Way]:
        """Return which way is good of those details that are not best as the reference's."""
        return {}

    def problems_beside(self, method: Beside | None) -> list[str]:
        """See :class:`Declared`; `method` is None where nothing is trained."""
        return []

    def check_rows(self, rows: Sequence[Row]) -> None:
        """Learn the scored forget rows, before any model loads; raises DataError if unfit."""

    def check_retain(self, rows: Sequence[Row]) -> None:
        """Learn all rows to keep, before any model loads; raises DataError if unfit."""

    def run(self, subject: Subject) -> Found:
        """Attack the model and return what was found."""
        raise NotImplementedError


def recovered(
    attacked: float | None, after: float | None, before: float | None, notes: list[str]
) -> float | None:
    """Return (attacked − after)/(before − after), clipped to [0, 1]; 0 = nothing came back.

    x is a quantity of [0, 1] that is high for a model that knows the forget rows. Where before does
    not exceed after by :data:`LEAST_DISTANCE` nothing has been forgotten that could come back: the
    share is None, and `notes` says so.
    """
    if before is None:
        notes.append(
            "no recovered share, as the model before unlearning is not known (method=none: "
            "attack_before=PATH names it)"
        )
        return None
    if attacked is None or after is None or not all(map(math.isfinite, (attacked, after, before))):
        notes.append("no recovered share, as a number is not finite")
        return None
    if before - after < LEAST_DISTANCE:
        notes.append(
            f"no recovered share, as nothing seems forgotten: {after:.3g} after unlearning, "
            f"{before:.3g} before"
        )
        return None
    return min(1.0, max(0.0, (attacked - after) / (before - after)))


def answer_probability(
    scores: pd.DataFrame, rows: Sequence[int] | None = None, split: str = "forget"
) -> float:
    """Return the mean over a split of p = exp(−mean NLL); `rows` takes those indexes only."""
    table = scores[(scores["split"] == split) & (scores["kind"] == "answer")]
    if rows is not None:
        table = table[table["index"].isin(rows)]
    return float(np.exp(-mean_nll(table, "answer").to_numpy()).mean())


def greedy_recalls(measured: Evaluation) -> list[float | None]:
    """Return the ROUGE-L recall of what was answered to each forget question, in their order.

    None for a truth without a word.
    """
    said = [line for line in measured.generations if "quiz" not in line]
    return [line["rougeL_recall"] for line in said if line["split"] == "forget"]


@contextmanager
def unchanged(model: LanguageModel, weights: bool = True) -> Iterator[None]:
    """Give the model and the global random generators back as they were, whatever happens between.

    `weights`: also keep a copy of every parameter and buffer on the CPU and put it back, bit by
    bit. A parameter that was replaced by another object is the one thing that is not noticed.
    """
    tensors = list(chain(model.parameters(), model.buffers())) if weights else []
    kept = [tensor.detach().to("cpu", copy=True) for tensor in tensors]
    state = [(p, p.grad, p.requires_grad) for p in model.parameters()]
    training = [(module, module.training) for module in model.modules()]
    with held():  # a signal ends what is inside, and never the putting back
        try:
            for parameter, _, _ in state:
                parameter.grad = None  # whatever is added to a gradient is added to another one
            with generators_kept(), obeyed():
                yield
        finally:
            with torch.no_grad():
                for tensor, copy in zip(tensors, kept, strict=True):
                    tensor.copy_(copy)
            for parameter, gradient, trains in state:
                parameter.grad = gradient
                parameter.requires_grad_(trains)
            for module, was in training:
                module.training = was
