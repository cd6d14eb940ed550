"""Reading a run folder, forgivingly: a run that failed half-way still deserves a report."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearn.metrics.catalogue import Catalogue

Flat = dict[str, float | None]
"""Metrics by flat name, such as ``forget/rougeL_recall``; null where a number was not finite."""

STAGES = ("before", "after", "reference")


@dataclass(frozen=True)
class RunFolder:
    """The parts of a run folder that a report speaks of."""

    path: Path
    summary: Mapping[str, Any]
    lines: list[dict[str, Any]]
    """Lines of ``metrics.jsonl``, in order."""

    @property
    def name(self) -> str:
        """The run's name, which is its folder's where the record has none."""
        return str(self.summary.get("name") or self.path.name)

    @property
    def training(self) -> list[dict[str, Any]]:
        """The lines that describe a training step; none where nothing was trained."""
        return [line for line in self.lines if "train/lr" in line]

    @property
    def diagnosed(self) -> list[dict[str, Any]]:
        """The training lines that know both gradients; with fixed weights only some do."""
        return [line for line in self.training if is_diagnosed(line)]

    @property
    def metrics(self) -> dict[str, Flat]:
        """Flat metrics by stage, of those stages of :data:`STAGES` that the run has."""
        recorded = self.summary.get("metrics") or {}
        return {stage: recorded[stage] for stage in STAGES if recorded.get(stage)}

    @cached_property
    def catalogue(self) -> Catalogue:
        """What is known of the run's metrics, which way is good above all."""
        return Catalogue.recorded(self.summary)

    @property
    def on_the_way(self) -> dict[int, Flat]:
        """Flat metrics by step, of the evaluations during training."""
        return {
            line["step"]: line
            for line in self.lines
            if str(line.get("stage", "")).startswith("step_")
        }

    def part(self, group: str) -> str:
        """Return the name of the run's ``method``, ``data``, ``model`` or ``scheduler``."""
        name = (self.summary.get(group) or {}).get("name")
        return str(name) if name else f"the {group} configured below"


def read_run(path: Path, summary: Mapping[str, Any] | None = None) -> RunFolder:
    """Read a run folder.

    Args:
        path: The run folder.
        summary: What ``summary.json`` will hold, for a run that writes it last of all; null reads
            the file. A missing file counts as an empty record.
    """
    if summary is None:
        file = path / "summary.json"
        summary = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return RunFolder(path, summary, read_lines(path / "metrics.jsonl"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file; a missing one is empty."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        # A killed run may leave half a line at the end, without its line break.
        return [json.loads(line) for line in file if line.endswith("\n")]


def is_diagnosed(line: Mapping[str, Any]) -> bool:
    """Return whether a training line knows both gradients."""
    return line.get("train/cosine") is not None
