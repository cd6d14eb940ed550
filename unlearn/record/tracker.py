"""Which sink the configuration names."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unlearn.options.schema import TrackerConfig, TrackerName
from unlearn.record.sink import Sink

log = logging.getLogger(__name__)


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
    from unlearn.record.wandb_sink import WandbSink

    return WandbSink(config, run, settings=settings, tags=tags, sweep=sweep, job_type=job_type)
