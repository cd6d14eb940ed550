"""A run in one row: the flat keys by which a dashboard's table of runs is sorted and filtered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearn.metrics.catalogue import HEADLINES

OWN = ("kpi/", "lm_eval/", "attack/")
"""Beginnings of metric names that a reader asked for by name, and so looks for first."""
COSTS = ("prepare_s", "train_s", "evaluate_s", "steps", "tokens", "peak_memory_bytes")


def flat_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a run, from what ``summary.json`` holds.

    - every metric after unlearning under its own name, ``forget/rougeL_recall``;
    - headline metrics, those of a condition, and those of :data:`OWN` once more by stage,
      without a slash: ``before_forget_rougeL_recall``, ``after_…``, ``reference_…``;
    - ``accepted`` and, for every condition, ``verdict/<metric>``: met or not;
    - status, and the cost.
    """
    metrics, verdict = summary["metrics"], summary["verdict"]
    row: dict[str, Any] = dict(metrics["after"] or {})
    judged = {condition["metric"] for condition in verdict["conditions"]}
    for stage, flat in metrics.items():
        for name, value in (flat or {}).items():
            if name in HEADLINES or name in judged or name.startswith(OWN):
                row[f"{stage}_{name.replace('/', '_')}"] = value
    met: dict[str, bool] = {}
    for condition in verdict["conditions"]:  # two bounds on one metric: both have to hold
        name = f"verdict/{condition['metric']}"
        met[name] = met.get(name, True) and bool(condition["met"])
    costs = {name: summary["cost"][name] for name in COSTS if name in summary["cost"]}
    status = {"status": summary["status"], "accepted": verdict["accepted"]}
    return {**row, **met, **status, **costs}
