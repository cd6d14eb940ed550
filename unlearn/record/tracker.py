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
    public: bool = True,
    sweep: str | None = None,
    job_type: str = "unlearn",
) -> Sink:
    """Choose the sink that ``tracker`` names; in a process group, rank 0 alone should call this.

    `settings` is the resolved configuration as plain containers, with versions and git beside it;
    `tags` are the names of method, data and model, `public` says whether the rows are a benchmark's
    (`tracker.texts` decides for others), `sweep` is that of the sweep's folder where the run
    is part of one, and `job_type` is ``evaluate`` where nothing is trained. Seven parameters: each
    is a field of what the tracker is told.
    """
    if config.name is TrackerName.none:
        return Sink()
    if os.environ.get("WANDB_MODE") == "disabled":
        log.info("wandb: off (WANDB_MODE=disabled)")
        return Sink()
    from unlearn.record.wandb_sink import WandbSink

    description = {
        "project": config.project,
        "entity": config.entity,
        "group": config.group or sweep,
        "job_type": job_type,
        "tags": list(dict.fromkeys([*tags, *config.tags])),
        "notes": config.notes,
        "config": settings,
    }
    texts = public if config.texts is None else config.texts
    return WandbSink(config, run, description, texts)
