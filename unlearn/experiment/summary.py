"""`summary.json`: the record of a run, from whatever is known of it when it ends."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from unlearn.composition.job import describe_choices
from unlearn.data.splits import Splits
from unlearn.evaluation.results import Evaluation
from unlearn.experiment.bench import Bench
from unlearn.metrics.catalogue import Catalogue
from unlearn.models.prepared import Prepared
from unlearn.options.parts import plain_container
from unlearn.record.clock import Clock
from unlearn.record.layout import STAGES, read_run
from unlearn.record.provenance import provenance
from unlearn.record.resuming import options_hash
from unlearn.record.safety import safety_of
from unlearn.training.trainer import Trainer

SCHEMA = 1


@dataclass
class State:
    """What a run knows of itself; filled as it goes on."""

    cfg: DictConfig
    folder: Path
    overrides: list[str]
    home: Path
    """The run folder, in which rank 0 alone writes; `folder` is that, or another process's own."""
    clock: Clock = field(default_factory=Clock)
    bench: Bench | None = None
    """What measures, and what it found."""
    splits: Splits | None = None
    target: Prepared | None = None
    reference: Prepared | None = None
    trainer: Trainer | None = None
    rounded: float | None = None
    """Share of the weights that were rounded to the precision in which they are saved."""
    outcome: dict[str, Any] | None = None
    """How the training ended, and which of its states is the best."""
    catalogue: Catalogue = field(default_factory=Catalogue)
    """What is known of the metrics; filled by reader and measures."""

    notes: list[str] = field(default_factory=list)
    """What is to be said of the run besides the notes of its evaluations."""

    def __post_init__(self) -> None:
        self.config = plain_container(self.cfg)
        self.names = describe_choices(self.cfg)
        options = OmegaConf.to_container(self.cfg, resolve=False, enum_to_str=True)
        assert isinstance(options, dict)
        self.origin = {
            **provenance(self.config),
            "options_sha256": options_hash({str(key): value for key, value in options.items()}),
        }

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return self.trainer.done if self.trainer else 0

    @property
    def metrics(self) -> dict[str, dict[str, float | None] | None]:
        """Flat metrics by stage; None for a stage that was not measured."""
        return metrics_of(self.stages)

    @property
    def stages(self) -> dict[str, Evaluation]:
        """What was measured so far, by stage."""
        return self.bench.stages if self.bench else {}

    def summary(self, status: str, verdict: dict[str, Any]) -> dict[str, Any]:
        """Return the summary; `status` is completed, failed or stopped."""
        prepared = {"target": self.target, "reference": self.reference}
        models = {
            name: {
                "path": model.folder,
                "accuracy": model.accuracy,
                **({"knows": model.knows} if model.knows else {}),
            }
            for name, model in prepared.items()
            if model is not None
        }
        return record(
            status,
            self.folder.name,
            {
                "seed": self.cfg.seed,
                **self.names,
                "model": {**self.names["model"], **models, "rounded": self.rounded},
            },
            self.stages,
            notes=[*notes_of(self.stages), *self.notes],
            better=self.catalogue.better(self.metrics),
            verdict=verdict,
            overrides=self.overrides,
            attacks=self.bench.attacked if self.bench else {},
            training=self.outcome,
            safety=safety_of(read_run(self.folder, {}).training),
            cost={
                **{name: round(seconds, 3) for name, seconds in self.clock.spent.items()},
                "steps": self.steps,
                "peak_memory_bytes": peak_memory(),
                "tokens": self.trainer.tokens if self.trainer else 0,
            },
            provenance={
                **self.origin,
                "data_sha256": self.splits.sha256 if self.splits else None,
                "target_sha256": self.target.sha256 if self.target else None,
                "reference_sha256": self.reference.sha256 if self.reference else None,
                "evaluation": self.bench.identity if self.bench else None,
            },
        )


def record(
    status: str,
    name: str,
    chosen: Mapping[str, Any],
    stages: Mapping[str, Evaluation],
    **more: Any,
) -> dict[str, Any]:
    """Return the record of a run or of a rescoring: the one place that knows its keys.

    `chosen` has seed, method, data, model and scheduler; `more` has overrides, verdict, cost,
    provenance, and what only one of the two has.
    """
    return {
        "schema": SCHEMA,
        "status": status,
        "name": name,
        **{key: chosen[key] for key in ("seed", "method", "data", "model", "scheduler")},
        "metrics": metrics_of(stages),
        **{"notes": notes_of(stages), **more},
    }


def metrics_of(stages: Mapping[str, Evaluation]) -> dict[str, dict[str, float | None] | None]:
    """Return flat metrics by stage; None for a stage that was not measured."""
    return {s: stages[s].metrics if s in stages else None for s in STAGES}


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
