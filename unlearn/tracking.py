"""The record of a run and its copy on a dashboard.

The record is ``metrics.jsonl`` in the run folder: one JSON object a line, complete whatever happens
to the network. A tracker (Weights & Biases) is a sink that receives the same names. Every call into
it is guarded: a tracker that fails says so once and falls silent, and the run goes on.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from unlearn.files import plain, write_text_atomic

log = logging.getLogger(__name__)


class TrackerName(Enum):
    """The trackers that a run can report to."""

    wandb = "wandb"
    none = "none"


class TrackerMode(Enum):
    """Where wandb sends a run."""

    auto = "auto"
    online = "online"
    offline = "offline"


@dataclass
class TrackerConfig:
    """Options of the group ``tracker``."""

    name: TrackerName = TrackerName.wandb
    """``wandb`` or ``none``; the record on disk is the same with both."""
    mode: TrackerMode = TrackerMode.auto
    """``auto``: what WANDB_MODE says, else online where an API key is configured, else offline."""
    project: str = "unlearn"
    """Project that the runs are filed under."""
    entity: str | None = None
    """User or team; null takes the account's default."""
    group: str | None = None
    """Group of runs; null takes the sweep's folder name in a sweep, and none otherwise."""
    tags: list[str] = field(default_factory=list)
    """Tags besides the names of method, data and model."""
    notes: str | None = None
    """A remark shown with the run."""
    log_model: bool = False
    """Also send the unlearned model, as an artifact of type ``model``: as many bytes as the folder
    ``model/`` has, for every run."""


class Sink:
    """The sink that keeps nothing (``tracker=none``), and the interface of those that do."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Receive the values of one line of ``metrics.jsonl``."""

    def log_generations(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Receive the answers side by side, one row a question; all rows have the same keys."""

    def log_conditions(self, conditions: Sequence[Mapping[str, Any]]) -> None:
        """Receive the conditions of the verdict, one a row."""

    def log_figures(self, paths: Sequence[Path]) -> None:
        """Receive the figures of the report."""

    def log_model(self, folder: Path) -> None:
        """Receive the unlearned model, where ``tracker.log_model`` asks for it."""

    def finish(self, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Receive the headline numbers under flat names, and close."""


class Record:
    """Appends to ``<run>/metrics.jsonl``, one object a line, and forwards each line to a sink.

    An existing file is continued; a half-written last line, as a killed process leaves it, goes.
    """

    def __init__(self, run: Path, sink: Sink | None = None) -> None:
        self.path = run / "metrics.jsonl"
        self.sink = sink or Sink()
        self.stages: set[str] = set()
        """Stages that are in the record already, where a run goes on."""
        self._keep(lambda line: True)
        self._file = self.path.open("a", encoding="utf-8")

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Write one line, on disk when this returns; non-finite numbers are written as null."""
        line = plain({"step": step, **values})
        self._file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()
        self.sink.log(step, {name: value for name, value in line.items() if name != "step"})

    def truncate_after(self, step: int) -> None:
        """Drop the lines beyond ``step``, and those of the end: a resumed run writes them again."""
        self._file.close()

        def earlier(line: dict[str, Any]) -> bool:
            attacked = any(name.startswith("attack/") for name in line)
            return line["step"] <= step and line.get("stage") != "after" and not attacked

        self._keep(earlier)
        self._file = self.path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file; the sink has its own end, :meth:`Sink.finish`."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        kept = [line for line in lines if wanted(json.loads(line))]
        self.stages = {json.loads(line).get("stage") for line in kept} - {None}
        if "".join(kept) != text:
            write_text_atomic(self.path, "".join(kept))


def make_sink(
    config: TrackerConfig,
    run: Path,
    *,
    settings: Mapping[str, Any],
    tags: Sequence[str],
    sweep: str | None = None,
    job_type: str = "unlearn",
) -> Sink:
    """Choose the sink that ``tracker`` names; in a process group, rank 0 alone should call this.

    Args:
        config: The group ``tracker``.
        run: The run folder; its name is the name of the run.
        settings: The resolved configuration as plain containers, with versions and git beside it.
        tags: Names of method, data and model.
        sweep: Name of the sweep's folder where the run is part of one.
        job_type: ``unlearn``, or ``evaluate`` where nothing is trained.
    """
    if config.name is TrackerName.none:
        return Sink()
    if os.environ.get("WANDB_MODE") == "disabled":
        log.info("wandb: off (WANDB_MODE=disabled)")
        return Sink()
    from unlearn.wandb_sink import WandbSink

    return WandbSink(config, run, settings=settings, tags=tags, sweep=sweep, job_type=job_type)
