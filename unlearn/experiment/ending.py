"""How a run ends: judged and written up, or failed with what is known of it."""

from __future__ import annotations

import logging
from typing import Any

from unlearn.evaluation.acceptance import judge
from unlearn.experiment.settings import Settings
from unlearn.experiment.summary import State
from unlearn.record.sink import Sink
from unlearn.record.stamp import FILES, hashes_in, write_stamped
from unlearn.report import (
    draw_figures,
    flat_summary,
    gradient_facts,
    read_run,
    side_by_side,
    write_report,
)

log = logging.getLogger(__name__)


def conclude(state: State, settings: Settings, sink: Sink) -> dict[str, Any]:
    """Judge, and write figures, report and summary, the summary last."""
    verdict = judge(settings.conditions, state.metrics)
    summary = state.summary("completed", verdict)
    facts: dict[str, float] = {}
    try:
        figures = draw_figures(state.folder, summary)
        write_report(state.folder, summary, figures)
        sink.log_figures(figures)
        facts = gradient_facts(read_run(state.folder, summary))
    except OSError as error:  # a full disk, which the summary below may still fit on
        log.error("the report could not be written: %s", error)
    except Exception:  # any: a page that cannot be drawn does not undo a run
        log.exception("the report could not be written; every number is in summary.json")
    sink.log_generations(side_by_side(state.folder))
    sink.log_conditions(verdict["conditions"])
    sink.log_model(state.folder / "model")
    sink.finish({**flat_summary(summary), **facts})
    summary["provenance"][FILES] = hashes_in(state.folder)
    write_stamped(state.folder / "summary.json", summary)
    return summary


def leave_failed(state: State, sink: Sink, error: BaseException) -> None:
    """Leave what is known of a run that ended early, and close the tracker."""
    status = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
    summary = state.summary(status, {"accepted": None, "conditions": []})
    summary["error"] = f"{type(error).__name__}: {error}"
    try:
        write_stamped(state.folder / "summary.json", summary)
    except OSError as second:
        log.error("summary.json could not be written either: %s", second)
    # Last: a tracker may wait for its server longer than whoever stops the run does.
    sink.finish({"status": status, "error": summary["error"]}, failed=True)
