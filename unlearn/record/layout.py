"""A run folder as it lies on disk: its files, what they hold, and whether its run goes on.

The one reader of run folders, for resuming, rescoring, report and comparison. It reads forgivingly:
a run that failed half-way, or is still running, has a folder as well. Records of earlier versions
are converted here, so that nobody else has to know of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearn.metrics.catalogue import Catalogue, Metric
from unlearn.record import shapes
from unlearn.record.limits import (
    LARGEST_TABLE,
    end_of,
    json_in,
    lines_of,
    require_regular,
    text_of,
    yaml_in,
)
from unlearn.record.shapes import Shape, require
from unlearn.record.stamp import require_stamp

Flat = dict[str, float | None]
"""Metrics by flat name, such as ``forget/rougeL_recall``; null where a number was not finite."""

STAGES = ("before", "after", "reference")

SUMMARY, RESCORED, LINES, LOG = "summary.json", "record.json", "metrics.jsonl", "unlearn.log"
ANSWERS = "generations.jsonl"
HYDRA = Path(".hydra")
ERASED = "texts_erased"
"""Key of a record: when `unlearn --clean` erased the texts of its rows."""
BEGUN = Path("checkpoints") / "run.json"
"""Written once the data are read: options and data of the run that this folder belongs to."""

MOVED = {"unlearn.data.files.Files": "unlearn.data.own_files.Files"}
"""Parts that records of earlier versions name by another place → where they are now."""

EARLIER = {"words": "tofu"}
"""How an evaluation was made, where a record of an earlier version does not say it."""


class Progress(Enum):
    """How far the run of a folder has come: the one answer to whether it goes on."""

    new = "no run has begun here, or none that left anything to go on from or to lose"
    begun = "a run has begun, and the same command goes on with it"
    complete = "a run has come to its end"
    lost = "a run left lines, but no state to go on from"


def progress_of(folder: Path) -> Progress:
    """Return how far the run of a folder has come."""
    with suppress(ValueError):  # a broken one is none: the run is brought to its end again
        summary = read_summary(folder)
        if isinstance(summary, Mapping) and summary.get("status") == "completed":
            return Progress.complete
    if (folder / BEGUN).exists():
        return Progress.begun
    return Progress.lost if (folder / LINES).exists() else Progress.new


@dataclass(frozen=True)
class RunFolder:
    """One run as its folder tells it; what takes long to read is read when it is asked for."""

    path: Path
    summary: Mapping[str, Any]
    """Empty where the run left none."""

    @property
    def name(self) -> str:
        """The run's name, which is its folder's where the record has none."""
        return str(self.summary.get("name") or self.path.name)

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        """Lines of ``metrics.jsonl``, in order."""
        return read_lines(self.path / LINES, shapes.line)

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
        """Flat metrics by stage, of those stages of :data:`STAGES` that were measured."""
        recorded = self.summary.get("metrics") or {}
        return {stage: recorded[stage] for stage in STAGES if recorded.get(stage)}

    @cached_property
    def catalogue(self) -> Catalogue:
        """What is known of the run's metrics, which way is good above all."""
        return Catalogue.recorded(self.summary)

    def read_beside(self, name: str) -> Metric:
        """Return a metric as it is read beside the reference's value, where there is one."""
        return self.catalogue[name].beside(self.metrics.get("reference", {}).get(name))

    def way(self, name: str) -> str:
        """Say which way of a metric is good, in a word or two."""
        return self.catalogue[name].words_beside(self.metrics.get("reference", {}).get(name))

    @property
    def on_the_way(self) -> dict[int, Flat]:
        """Flat metrics by step, of the evaluations during training."""
        return {
            line["step"]: line
            for line in self.lines
            if str(line.get("stage", "")).startswith("step_")
        }

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the result comes from."""
        origin = self.summary.get("provenance") or {}
        known = origin.get("evaluation")
        return {**origin, "evaluation": {**EARLIER, **known}} if known else origin

    @cached_property
    def overrides(self) -> tuple[str, ...]:
        """What the run was told, from its record or from Hydra's."""
        recorded = self.summary.get("overrides")
        if recorded is None:
            return tuple(read_overrides(self.path))
        return tuple(map(str, recorded))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The composed configuration as Hydra recorded it, unresolved; empty where it did not."""
        file = self.path / HYDRA / "config.yaml"
        return at_its_place(read_yaml(file, shapes.configuration))

    @cached_property
    def runtime(self) -> Mapping[str, Any]:
        """Where the run was started, and the folders that its command named."""
        recorded = read_yaml(self.path / HYDRA / "hydra.yaml", shapes.HYDRA)
        return (recorded.get("hydra") or {}).get("runtime") or {}

    def part(self, group: str) -> str:
        """Return the name of the run's ``method``, ``data``, ``model`` or ``scheduler``."""
        name = (self.summary.get(group) or {}).get("name")
        return str(name) if name else f"the {group} configured below"

    def last_error(self) -> str:
        """Return the last error that the run logged, or that it left no record."""
        for line in reversed(end_of(self.path / LOG).splitlines()):
            _, found, message = line.partition(" ERROR ")
            if found:
                return message.strip()
        return "no summary.json: it was killed, or is still running"


def read_run(path: Path, summary: Mapping[str, Any] | None = None) -> RunFolder:
    """Read a run folder, or what `unlearn-evaluate` left below one.

    `summary` is what ``summary.json`` will hold, for a run that writes it last of all; null reads
    the file. A missing file counts as an empty record.
    """
    if summary is None:
        found = [record_in(path / name) for name in (RESCORED, SUMMARY)]
        summary = next((record for record in found if record is not None), {})
    return RunFolder(path, summary)


def read_sound(path: Path) -> RunFolder:
    """Read the folder of a run that may be anybody's, whose record readers can then believe.

    Raises ValueError, with file and field, where a value of the record is of another kind.
    """
    for name in (RESCORED, SUMMARY):
        with suppress(FileNotFoundError):
            text = text_of(path / name)
            record = json_in(text, name)
            require(shapes.SUMMARY, record, name)
            require_stamp(text, record, name)
            return RunFolder(path, record)
    return RunFolder(path, {})


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Return the summary that lies in the folder, None without one."""
    return record_in(folder / SUMMARY)


def record_in(file: Path) -> Any:
    """Return what a JSON file of a run holds, None without one."""
    try:
        return json_in(text_of(file), file.name)
    except FileNotFoundError:
        return None


def read_answers(run: Path, stage: str) -> list[dict[str, Any]]:
    """Read what the model of a stage answered, a line a question."""
    return read_lines(run / "evaluations" / stage / ANSWERS, shapes.ANSWERED)


def read_lines(path: Path, shape: Shape = shapes.mapping) -> list[dict[str, Any]]:
    """Read a JSON-lines file whose lines have a shape; a missing one is empty."""
    try:
        require_regular(path, LARGEST_TABLE)
        file = path.open(encoding="utf-8")
    except FileNotFoundError:
        return []
    with file:
        found = []
        for number, line in enumerate(lines_of(file), 1):
            # A killed run may leave half a line at the end, without its line break.
            if line.endswith("\n"):
                place = f"{path.name}:{number}"
                found.append(json_in(line, place))
                require(shape, found[-1], place)
        return found


def is_diagnosed(line: Mapping[str, Any]) -> bool:
    """Return whether a training line knows both gradients."""
    return line.get("train/cosine") is not None


def read_overrides(run: Path) -> list[str]:
    """Read what Hydra recorded that the run was told."""
    return read_yaml(run / HYDRA / "overrides.yaml", shapes.OVERRIDES) or []


def read_yaml(file: Path, shape: Shape | None = None) -> Any:
    """Read a YAML file of a shape; a missing or empty one is an empty mapping.

    Raises ValueError for half a file, as a job leaves it that was killed while Hydra wrote.
    """
    try:
        found = yaml_in(text_of(file), file.name)
    except FileNotFoundError:
        return {}
    if found is None:
        return {}
    if shape is not None:
        require(shape, found, file.name)
    return found


def at_its_place(config: Any) -> Any:
    """Return a configuration whose parts are named by where they are in this version."""
    if isinstance(config, Mapping):
        moved = {key: at_its_place(value) for key, value in config.items()}
        if isinstance(named := moved.get("_target_"), str):
            moved["_target_"] = MOVED.get(named, named)
        return moved
    return [at_its_place(value) for value in config] if isinstance(config, list) else config
