"""The figure of the training: losses, gradients, shares and the learning rate, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearn.record.layout import RunFolder, is_diagnosed
from unlearn.report.drawing import (
    FAINT,
    FORGET,
    INK,
    MANY,
    REFERENCE,
    RETAIN,
    Lines,
    column,
    curve,
    dots,
    legend,
    log_scale,
    loss_scale,
    running_mean,
)
from unlearn.report.gradient_facts import kept_both_signs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PROBES = (("o", REFERENCE), ("s", RETAIN), ("^", FORGET), ("D", "#CC79A7"), ("v", FAINT))
"""Marks of the reasons of a probe, the most frequent first; further reasons share the last."""


def _losses(axis: Axes, lines: Lines) -> int:
    for task, colour in (("forget", FORGET), ("retain", RETAIN)):
        curve(axis, lines, f"train/{task}_loss", colour, task)
    loss_scale(axis, [column(lines, f"train/{task}_loss") for task in ("forget", "retain")])
    return legend(axis)


def _gradients(axis: Axes, lines: Lines) -> int:
    # With fixed weights only some steps take the gradients apart.
    lines = [line for line in lines if is_diagnosed(line)]
    if not lines:
        axis.text(
            0.5,
            0.5,
            "One backward pass a step,\nno gradients apart (training.diagnose_every=0).",
            transform=axis.transAxes,
            ha="center",
            va="center",
            color=FAINT,
        )
        axis.tick_params(left=False, labelleft=False)
        axis.grid(visible=False)
        return 0
    # The norms go on the twin, for a twin is drawn on top; their scale still stands on the left.
    norms = axis.twinx()
    norms.grid(visible=False)
    norms.yaxis.tick_left()
    axis.yaxis.tick_right()
    axis.yaxis.set_label_position("right")
    axis.spines["right"].set_visible(True)
    axis.set(ylim=(-1.05, 1.05), ylabel="cosine")
    curve(axis, lines, "train/cosine", FAINT, "cosine (right scale)")
    for task, colour in (("forget", FORGET), ("retain", RETAIN)):
        curve(norms, lines, f"train/{task}_norm", colour, f"norm, {task}")
    log_scale(norms, [column(lines, f"train/{task}_norm") for task in ("forget", "retain")])
    return legend(norms, axis)


def _share(axis: Axes, lines: Lines) -> int:
    axis.set_ylim(-0.02, 1.02)
    steps, share = column(lines, "step"), column(lines, "train/retain_share")
    low, high = column(lines, "train/share_low"), column(lines, "train/share_high")
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(share)
    if known.any():
        steps_known, low, high = steps[known], low[known], high[known]
        kept = np.mean([kept_both_signs(line) for line in lines if is_diagnosed(line)])
        label = f"a plain gradient step helps both tasks (it did at {kept:.0%} of the steps)"
        style: dict[str, Any] = {"color": REFERENCE, "linewidth": 0}
        if len(steps_known) >= MANY:
            axis.fill_between(steps_known, low, high, alpha=0.09, **style)
            low, high = running_mean(low), running_mean(high)
        axis.fill_between(steps_known, low, high, alpha=0.18, label=label, **style)
    curve(axis, lines, "train/retain_share", INK, "c")
    return legend(axis, columns=1)


def _rate(axis: Axes, lines: Lines) -> int:
    steps, rate = column(lines, "step"), column(lines, "train/lr")
    axis.plot(
        steps, rate, color=INK, linewidth=1.2, drawstyle="steps-post", label="rate", **dots(steps)
    )
    probed = [line for line in lines if line.get("train/lr_reason")]
    star = column(probed, "train/lr_star")
    star[~(star > 0)] = np.nan
    log_scale(axis, [rate, star])
    if np.isfinite(star).any():
        axis.plot(
            column(probed, "step"),
            star,
            "x",
            color=FAINT,
            markersize=4,
            label="optimum of the fit",
        )
    reasons = [_reason(line) for line in probed]
    ranked = sorted(set(reasons), key=lambda reason: (-reasons.count(reason), reason))
    for place, reason in enumerate(ranked):
        marker, colour = PROBES[min(place, len(PROBES) - 1)]
        chosen = [line for line in probed if _reason(line) == reason]
        axis.plot(
            column(chosen, "step"),
            column(chosen, "train/lr"),
            marker,
            color=colour,
            markersize=5 if len(chosen) <= 40 else 3,
            label=f"{reason} ({len(chosen)})",
        )
    return legend(axis)


def _reason(line: Mapping[str, Any]) -> str:
    """The reason of a probe without its particulars, so that equal reasons share a marker."""
    return str(line["train/lr_reason"]).split(":")[0].split("(")[0].strip()


PANELS = (
    {"Loss of each task": _losses, "Gradient norms and cosine": _gradients},
    {"Retain share c": _share, "Learning rate and its probes": _rate},
)
"""The drawing of each panel by its title; it returns the height of its legend in rows."""


def training_figure(record: RunFolder) -> Figure | None:
    """Draw the four panels; null where nothing was trained."""
    from matplotlib.figure import Figure

    lines = record.training
    if not lines:
        return None
    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    figure.suptitle(record.name, x=0.01, ha="left", fontsize=10)
    for row, panels in zip(axes, PANELS, strict=True):
        legend_rows = max(
            draw(axis, lines) for axis, draw in zip(row, panels.values(), strict=True)
        )
        for axis, title in zip(row, panels, strict=True):
            axis.set_title(title, pad=6 + 15 * legend_rows)
    for axis in axes[1]:
        axis.set_xlabel("step")
    return figure
