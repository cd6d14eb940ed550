"""The figure of the evaluations during training: what they measured, over the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearn.metrics.catalogue import order
from unlearn.record.layout import RunFolder
from unlearn.record.safety import SLACK, safety_of
from unlearn.report.drawing import (
    FORGET,
    INK,
    REFERENCE,
    RETAIN,
    Lines,
    column,
    curve,
    loss_scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"forget": FORGET, "retain": RETAIN}
COLUMNS = 3
MOST = 14
"""Metrics that are drawn, the headlines first; a split of a TOFU run has nine."""


def evaluations_figure(record: RunFolder) -> Figure | None:
    """Draw each metric of the forget and retain rows, and the retain loss of each step.

    Null where the run was not evaluated on the way.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not record.on_the_way:
        return None
    lines = evaluated(record)
    safety = safety_of(record.training)
    metrics = drawn_of(lines)
    count = len(metrics) + (safety is not None)
    if not count:
        return None
    rows = math.ceil(count / COLUMNS)
    figure = Figure(figsize=(11, 1.1 + 2.4 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, COLUMNS)
    reference = record.metrics.get("reference", {})
    for place, metric in enumerate(metrics):
        axis = figure.add_subplot(grid[place])
        _metric(axis, lines, metric, reference.get(f"forget/{metric}"))
    if safety is not None:  # over what the metrics leave of the last row
        axis = figure.add_subplot(grid[rows - 1, len(metrics) % COLUMNS :])
        _retain_loss(axis, record.training, safety["bound"])
    end, taken = last_step(record), taken_step(record)
    filled = rows * COLUMNS if safety is not None else count
    for place, axis in enumerate(figure.axes):
        axis.set_xlim(-0.02 * end, 1.02 * end)
        axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
        if place + COLUMNS >= filled:  # nothing stands below
            axis.set_xlabel("step")
        if taken is not None:
            label = f"the state that was taken (step {taken})"
            axis.axvline(taken, color=INK, linewidth=0.9, linestyle=":", label=label)
    figure.suptitle(record.name, x=0.01, ha="left", fontsize=10)
    _legend(figure)
    return figure


def evaluated(record: RunFolder) -> list[dict[str, Any]]:
    """Return the flat metrics with their steps, in order: before, on the way and after.

    What was measured after is of the last step, or of the one whose state was taken as the best.
    """
    stages = record.metrics
    found: dict[int, Mapping[str, Any]] = {0: stages.get("before", {}), **record.on_the_way}
    if "after" in stages:
        taken = taken_step(record)
        found[last_step(record) if taken is None else taken] = stages["after"]
    return [{**found[step], "step": step} for step in sorted(found)]


def last_step(record: RunFolder) -> int:
    """Return the last step of which there is a line."""
    return max(line["step"] for line in record.lines)


def taken_step(record: RunFolder) -> int | None:
    """Return the step whose state `evaluation.best` took, None where it did not choose one."""
    best = (record.summary.get("training") or {}).get("best") or {}
    step: int | None = best.get("step")
    return step


def drawn_of(lines: Lines) -> list[str]:
    """Return the metrics, without their splits, that any evaluation has of forget or retain."""
    known = {name for line in lines for name, value in line.items() if value is not None}
    split = (name.partition("/") for name in known)
    return order(metric for part, _, metric in split if part in COLOURS)[:MOST]


def _metric(axis: Axes, lines: Lines, metric: str, reference: float | None) -> None:
    axis.set_title(metric)
    values = [column(lines, f"{split}/{metric}") for split in COLOURS]
    for split, colour in COLOURS.items():
        curve(axis, lines, f"{split}/{metric}", colour, split)
    if reference is not None:
        values.append(np.array([reference]))
        label = "the reference on the forget rows"
        axis.axhline(reference, color=REFERENCE, linewidth=1.2, linestyle="--", label=label)
    if metric == "loss":
        axis.set_ylabel("nats a token")
        loss_scale(axis, values)
        return
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    if (known >= 0).all() and (known <= 1).all():  # a share, as most are: the whole range
        axis.set_ylim(-0.03, 1.03)


def _retain_loss(axis: Axes, training: Lines, bound: float) -> None:
    """Draw what `record/safety.py` says of the way, step by step."""
    axis.set_title("retain loss of each step, as trained")
    curve(axis, training, "train/retain_loss", RETAIN, "retain")
    label = f"bound: the first step's + {SLACK}"
    axis.axhline(bound, color=INK, linewidth=1.2, linestyle="--", label=label)
    loss_scale(axis, [column(training, "train/retain_loss")])


def _legend(figure: Figure) -> None:
    """Say once below the panels what is the same in all of them."""
    handles: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
