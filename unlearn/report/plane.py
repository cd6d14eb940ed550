"""The forget-retain plane: where the run began, where it led, and where it should have led."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearn.record.layout import Flat, RunFolder
from unlearn.report.drawing import FAINT, FORGET, INK, REFERENCE
from unlearn.report.wording import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plane_figure(record: RunFolder) -> Figure | None:
    """Draw the stages, and the way between them where the run was evaluated on it.

    The x-axis always shows the whole range; the y-axis starts at 0, 0.5 or 0.8, so that figures of
    several runs can be compared. Null where no stage has both splits.
    """
    from matplotlib.figure import Figure

    measured = _both_splits(record.metrics)
    if measured is None:
        return None
    metric, label = measured

    def place(flat: Flat) -> tuple[float, float]:
        forget, retain = (flat.get(f"{split}/{metric}") for split in ("forget", "retain"))
        return (
            float("nan") if forget is None else forget,
            float("nan") if retain is None else retain,
        )

    points = {stage: place(flat) for stage, flat in record.metrics.items()}
    visited = [place(flat) for _, flat in sorted(record.on_the_way.items())]
    figure = Figure(figsize=(7, 5.6), layout="constrained")
    axis = figure.subplots()
    ends = [[points[stage]] if stage in points else [] for stage in ("before", "after")]
    axis.plot(*_columns([*ends[0], *visited, *ends[1]]), color=FAINT, linewidth=1.2)
    if "reference" in points:
        axis.axvline(points["reference"][0], color=REFERENCE, linewidth=0.9, linestyle=":")
        axis.axhline(points["reference"][1], color=REFERENCE, linewidth=0.9, linestyle=":")
    # Before is a wide ring: where nothing was trained, after lies in its middle.
    for stage, marker, size, face, edge in (
        ("before", "o", 12, "none", INK),
        ("reference", "*", 15, REFERENCE, REFERENCE),
        ("after", "o", 8, FORGET, FORGET),
    ):
        if stage in points:
            x, y = points[stage]
            text = f"{stage} ({number(x)}, {number(y)})"
            style: dict[str, Any] = {
                "markerfacecolor": face,
                "markeredgecolor": edge,
                "markersize": size,
            }
            axis.plot(x, y, marker, label=text, linestyle="none", clip_on=False, zorder=3, **style)
    if visited:
        text = f"during training ({len(visited)} evaluations)"
        axis.plot(*_columns(visited), ".", color=FAINT, label=text)
    lowest = np.nanmin([y for _, y in [*points.values(), *visited]])
    bottom = max(bound for bound in (-0.03, 0.5, 0.8) if bound < max(lowest - 0.05, 0))
    axis.set(xlim=(-0.03, 1.03), ylim=(bottom, 1 + 0.03 * (1 - bottom)))
    axis.set_xlabel(f"{label} on forget rows (lower is better)")
    axis.set_ylabel(f"{label} on retain rows (higher is better)")
    figure.suptitle(record.name, x=0.01, ha="left", fontsize=10)
    figure.legend(labelspacing=0.8, loc="outside lower center", ncols=2)
    return figure


def _both_splits(metrics: Mapping[str, Flat]) -> tuple[str, str] | None:
    """Choose the axes: ROUGE-L where answers were generated, else the probability."""
    for metric, label in (
        ("rougeL_recall", "ROUGE-L recall"),
        ("knowmem", "ROUGE-L F1 of answers"),
        ("probability", "Probability"),
    ):
        for flat in metrics.values():
            if all(flat.get(f"{split}/{metric}") is not None for split in ("forget", "retain")):
                return metric, label
    return None


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
