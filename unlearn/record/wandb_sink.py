"""Weights & Biases as a sink of :mod:`unlearn.record.lines`: how a run looks on a team's dashboard.

docs/wandb.md says which panels to make of what arrives here.
"""

import functools
import logging
import os
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from unlearn.errors import first_line
from unlearn.options.schema import TrackerConfig, TrackerMode
from unlearn.record.sink import Sink
from unlearn.storage.files import plain, write_text_atomic

log = logging.getLogger(__name__)

INIT_TIMEOUT = 30.0
"""Seconds to wait for the server at the start; a cluster node may have a key but no way out."""

FINISH_TIMEOUT = 300.0
"""Seconds to wait for uploads at the end; without a limit, a lost network holds the run."""


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
                first_line(error),
            )

    return call


class WandbSink(Sink):
    """Weights & Biases as a sink.

    The run's id lies in ``<run>/wandb_id``, so that a resumed run continues the same one. wandb's
    own step counter starts afresh on resuming offline; ours travels as the metric ``step``, the
    x-axis of every chart.
    """

    def __init__(
        self, config: TrackerConfig, run: Path, description: Mapping[str, Any], texts: bool
    ) -> None:
        """`description`: what wandb is told of the run, besides its id, name and place; `texts`:
        whether questions and answers may leave the machine."""
        self.failed = False
        self._run: Any = None
        self._with_model, self._with_texts = config.log_model, texts
        self._start(config, run, description)

    @_guarded
    def _start(self, config: TrackerConfig, run: Path, description: Mapping[str, Any]) -> None:
        wandb = _wandb()
        quiet = wandb.Settings(
            silent=True,
            console="off",
            x_disable_stats=True,
            # The patch of a repository with changes would hold rows that lie in it.
            save_code=False,
            disable_git=not self._with_texts,
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
        """Send the answers as one table, where texts may be sent."""
        if not self._with_texts:
            log.info(
                "wandb: questions and answers stay on this machine (tracker.texts=true sends them)"
            )
        elif rows:
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
    def log_conditions(self, conditions: Sequence[Mapping[str, Any]]) -> None:
        """Send the verdict as one table; a bound of two numbers is text, as columns are typed."""
        if conditions:
            columns = ["metric", "rule", "value", "met"]
            data = [[condition[column] for column in columns] for condition in conditions]
            self._run.log({"conditions": _wandb().Table(columns=columns, data=data)})

    @_guarded
    def log_model(self, folder: Path) -> None:
        """Send the model's folder as an artifact named by the run's id, if wanted and there."""
        if self._with_model and folder.is_dir():
            artifact = _wandb().Artifact(f"model-{self._run.id}", type="model")
            artifact.add_dir(str(folder))
            self._run.log_artifact(artifact)

    @_guarded
    def finish(self, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Set the flat summary keys, which are the columns of wandb's table of runs, and close.

        Of an error only the kind is sent where texts are not: its words may show a row.
        """
        sent = dict(plain(summary))
        if "error" in sent and not self._with_texts:
            sent["error"] = str(sent["error"]).partition(":")[0]
        self._run.summary.update(sent)
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
