"""`summary.json`: the record of a run, from whatever is known of it when it ends."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from unlearn.composition.job import describe_choices
from unlearn.data.splits import Splits
from unlearn.evaluation.results import Evaluation
from unlearn.metrics.catalogue import Catalogue
from unlearn.models.prepared import Prepared
from unlearn.options.parts import plain_container
from unlearn.record.clock import Clock
from unlearn.record.provenance import provenance
from unlearn.training.trainer import Trainer

SCHEMA = 1
STAGES = ("before", "after", "reference")


@dataclass
class State:
    """What a run knows of itself; filled as it goes on."""

    cfg: DictConfig
    folder: Path
    overrides: list[str]
    clock: Clock = field(default_factory=Clock)
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    splits: Splits | None = None
    target: Prepared | None = None
    reference: Prepared | None = None
    trainer: Trainer | None = None
    outcome: dict[str, Any] | None = None
    """How the training ended, and which of its states is the best."""
    evaluated: dict[str, Any] | None = None
    """What the evaluations of two runs must share to be compared."""
    catalogue: Catalogue = field(default_factory=Catalogue)
    """What is known of the metrics; filled by reader and measures."""
    attacks: dict[str, Any] = field(default_factory=dict)
    """`names` of the attacks that were run, and `notes` on them by the stage that was attacked."""

    def __post_init__(self) -> None:
        self.config = plain_container(self.cfg)
        self.names = describe_choices(self.cfg)
        self.origin = provenance(self.config)

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return self.trainer.done if self.trainer else 0

    @property
    def metrics(self) -> dict[str, dict[str, float | None] | None]:
        """Flat metrics by stage; None for a stage that was not measured."""
        measured = self.evaluations
        return {s: measured[s].metrics if s in measured else None for s in STAGES}

    def summary(self, status: str, verdict: dict[str, Any]) -> dict[str, Any]:
        """Return the summary; `status` is completed, failed or stopped."""
        prepared = {"target": self.target, "reference": self.reference}
        models = {
            name: {"path": model.folder, "accuracy": model.accuracy}
            for name, model in prepared.items()
            if model is not None
        }
        return {
            "schema": SCHEMA,
            "status": status,
            "name": self.folder.name,
            "seed": self.cfg.seed,
            "method": self.names["method"],
            "data": self.names["data"],
            "model": {**self.names["model"], **models},
            "scheduler": self.names["scheduler"],
            "overrides": self.overrides,
            "metrics": self.metrics,
            "better": self.catalogue.better(self.metrics),
            "attacks": self.attacks,
            "verdict": verdict,
            "training": self.outcome,
            "notes": notes_of(self.evaluations),
            "cost": {
                **{name: round(seconds, 3) for name, seconds in self.clock.spent.items()},
                "steps": self.steps,
                "peak_memory_bytes": peak_memory(),
                "tokens": self.trainer.tokens if self.trainer else 0,
            },
            "provenance": {
                **self.origin,
                "data_sha256": self.splits.sha256 if self.splits else None,
                "target_sha256": self.target.sha256 if self.target else None,
                "reference_sha256": self.reference.sha256 if self.reference else None,
                "evaluation": self.evaluated,
            },
        }


def notes_of(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """Return what could not be measured and why, after the stages that it concerns."""
    stages: dict[str, list[str]] = {}
    for stage, evaluation in evaluations.items():
        for note in evaluation.notes:
            where = stages.setdefault(note, [])
            said = "on the way" if stage.startswith("step_") else stage
            if said not in where:
                where.append(said)
    # The reference is no reference to itself, which is nothing to be told.
    return [
        f"{', '.join(where)}: {note}"
        for note, where in stages.items()
        if where != ["reference"] or "no reference model" not in note
    ]


def peak_memory() -> int:
    """Return the largest memory so far in bytes: of the GPU where one is used, else resident."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
