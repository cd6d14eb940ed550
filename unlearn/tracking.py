"""The record of a run and its copy on a dashboard.

The record is ``metrics.jsonl`` in the run folder: one JSON object a line, complete whatever happens
to the network. A tracker (Weights & Biases) is a sink that receives the same names. Every call into
it is guarded: a tracker that fails says so once and falls silent, and the run goes on.
"""

import functools
import json
import logging
import os
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self

from unlearn.files import plain, write_text_atomic

log = logging.getLogger(__name__)

INIT_TIMEOUT = 30.0
"""Seconds to wait for the server at the start; a cluster node may have a key but no way out."""

FINISH_TIMEOUT = 300.0
"""Seconds to wait for uploads at the end; without a limit, a lost network holds the run."""


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


class Sink:
    """The sink that keeps nothing (``tracker=none``), and the interface of those that do."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Receive the values of one line of ``metrics.jsonl``."""

    def log_generations(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Receive the answers side by side, one row a question; all rows have the same keys."""

    def log_figures(self, paths: Sequence[Path]) -> None:
        """Receive the figures of the report."""

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
        self._keep(lambda line: line["step"] <= step and line.get("stage") != "after")
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
    return WandbSink(config, run, settings=settings, tags=tags, sweep=sweep, job_type=job_type)


Arguments = ParamSpec("Arguments")


def _guarded(
    method: Callable[Concatenate["WandbSink", Arguments], None],
) -> Callable[Concatenate["WandbSink", Arguments], None]:
    """Let no failure of the tracker reach the run: one warning, and the sink is shut."""

    @functools.wraps(method)
    def call(self: "WandbSink", *arguments: Arguments.args, **options: Arguments.kwargs) -> None:
        if self.failed:
            return
        try:
            method(self, *arguments, **options)
        except Exception as error:  # any: what a tracker and its network raise is not ours to list
            self.failed = True
            log.warning(
                "wandb failed and is off for the rest of this run (%s: %s); the record on disk is "
                "complete without it.",
                type(error).__name__,
                str(error).splitlines()[0] if str(error) else "no message",
            )

    return call


class WandbSink(Sink):
    """Weights & Biases as a sink.

    The run's id lies in ``<run>/wandb_id``, so that a resumed run continues the same one. wandb's
    own step counter starts afresh on resuming offline; ours travels as the metric ``step``, the
    x-axis of every chart.
    """

    def __init__(
        self,
        config: TrackerConfig,
        run: Path,
        *,
        settings: Mapping[str, Any],
        tags: Sequence[str],
        sweep: str | None,
        job_type: str,
    ) -> None:
        self.failed = False
        self._run: Any = None
        self._start(
            config,
            run,
            {
                "project": config.project,
                "entity": config.entity,
                "group": config.group or sweep,
                "job_type": job_type,
                "tags": list(dict.fromkeys([*tags, *config.tags])),
                "notes": config.notes,
                "config": settings,
            },
        )

    @_guarded
    def _start(self, config: TrackerConfig, run: Path, description: dict[str, Any]) -> None:
        wandb = _wandb()
        quiet = wandb.Settings(
            silent=True,
            console="off",
            x_disable_stats=True,
            init_timeout=INIT_TIMEOUT,
            finish_timeout=FINISH_TIMEOUT,
            finish_timeout_raises=True,
        )
        # Before asking for a key: unless told to be silent, wandb looks the user up on its server.
        wandb.setup(settings=wandb.Settings(silent=True))
        mode, reason = _choose_mode(config.mode, wandb)

        def start(mode: str) -> Any:
            return wandb.init(
                **plain(description),
                id=_stored_id(run),
                name=run.name,
                dir=run,
                mode=mode,
                resume="allow" if mode == "online" else None,
                reinit="finish_previous",
                settings=quiet,
            )

        try:
            self._run = start(mode)
        except Exception as error:
            if mode == "offline" or config.mode is not TrackerMode.auto:
                raise
            mode, reason = "offline", f"the server did not answer: {type(error).__name__}"
            self._run = start(mode)
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        if mode == "offline":
            folder = shlex.quote(str(self._run.settings.sync_dir))
            log.info("wandb: offline (%s); upload later with: wandb sync %s", reason, folder)
        else:
            log.info("wandb: online (%s): %s", reason, self._run.url)

    @_guarded
    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Send one line; the reference's numbers get a prefix, as they are no point in time."""
        prefix = "reference/" if values.get("stage") == "reference" else ""
        sent = {
            f"{prefix}{name}": value
            for name, value in values.items()
            if name != "stage" and value is not None
        }
        self._run.log({"step": step, **sent})

    @_guarded
    def log_generations(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send the answers as one table."""
        if rows:
            columns = list(rows[0])
            data = [[row[column] for column in columns] for row in rows]
            self._run.log({"generations": _wandb().Table(columns=columns, data=data)})

    @_guarded
    def log_figures(self, paths: Sequence[Path]) -> None:
        """Send the figures as images named like their files."""
        if paths:
            image = _wandb().Image
            self._run.log({f"figures/{path.stem}": image(str(path)) for path in paths})

    @_guarded
    def finish(self, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Set the flat summary keys, which are the columns of wandb's table of runs, and close."""
        self._run.summary.update(plain(summary))
        self._run.finish(exit_code=int(failed))


def _wandb() -> Any:
    import wandb  # a second, and a process of its own: only for runs that use it

    return wandb


def _choose_mode(mode: TrackerMode, wandb: Any) -> tuple[str, str]:
    """Say how to run wandb and why, without ever asking or reaching for the network."""
    if mode is not TrackerMode.auto:
        return mode.value, f"tracker.mode={mode.value}"
    environment = os.environ.get("WANDB_MODE")
    if environment in ("online", "offline"):
        return environment, f"WANDB_MODE={environment}"
    if wandb.login(prompt=False, verify=False):
        return "online", "an API key is configured"
    return "offline", "no API key is configured"


def _stored_id(run: Path) -> str:
    """Return the id that this run folder has under wandb, made at the first call."""
    path = run / "wandb_id"
    if not path.exists():
        write_text_atomic(path, secrets.token_hex(4) + "\n")
    return path.read_text(encoding="utf-8").strip()
