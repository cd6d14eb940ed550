"""The forget-retain plane: where the run began, where it led, and where it should have led."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unlearn.record.layout import Flat, RunFolder
from unlearn.report.drawing import FAINT, FORGET, INK, REFERENCE
from unlearn.report.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLANES = {
    "rougeL_recall": "ROUGE-L recall",
    "knowmem": "ROUGE-L F1 of answers",
    "probability": "probability",
}
"""What the forget-retain plane may be drawn by, the first that was measured of both splits."""


def plane_of(runs: Iterable[Mapping[str, float | None]]) -> str | None:
    """Return the measure by which runs, or stages of one, are drawn on the plane, if any."""
    known = [{name for name, value in run.items() if value is not None} for run in runs]
    for measure in PLANES:
        if any({f"forget/{measure}", f"retain/{measure}"} <= names for names in known):
            return measure
    return None


def bottom_of(heights: Iterable[float]) -> float:
    """Return where the retain axis begins: -0.03, 0.5 or 0.8, so that figures can be compared."""
    lowest = min(filter(math.isfinite, heights), default=0.0)
    return max(bound for bound in (-0.03, 0.5, 0.8) if bound < max(lowest - 0.05, 0))


def frame(axis: Axes, label: str, bottom: float, reference: Sequence[float] | None) -> None:
    """Set limits and titles; dotted lines cross where the reference lies, hatched is below it."""
    good = "lower is better"
    if reference is not None:
        good = "best where the reference is"
        for line, place in zip((axis.axvline, axis.axhline), reference, strict=True):
            line(place, color=REFERENCE, linewidth=0.9, linestyle=":")
        look: dict[str, Any] = {"facecolor": "none", "edgecolor": FAINT, "alpha": 0.35}
        axis.axvspan(-0.03, reference[0], hatch="//", linewidth=0, label="over-forgotten", **look)
    axis.set(xlim=(-0.03, 1.03), ylim=(bottom, 1 + 0.03 * (1 - bottom)))
    axis.set_xlabel(f"{label} on forget rows ({good})")
    axis.set_ylabel(f"{label} on retain rows (higher is better)")


def plane_figure(record: RunFolder) -> Figure | None:
    """Draw the stages, and the way between them where the run was evaluated on it.

    The x-axis always shows the whole range; the y-axis starts at 0, 0.5 or 0.8, so that figures of
    several runs can be compared. Null where no stage has both splits.
    """
    from matplotlib.figure import Figure

    metric = plane_of(record.metrics.values())
    if metric is None:
        return None

    def place(flat: Flat) -> tuple[float, float]:
        found = [flat.get(f"{split}/{metric}") for split in ("forget", "retain")]
        forget, retain = (math.nan if value is None else value for value in found)
        return forget, retain

    points = {stage: place(flat) for stage, flat in record.metrics.items()}
    visited = [place(flat) for _, flat in sorted(record.on_the_way.items())]
    figure = Figure(figsize=(7, 5.6), layout="constrained")
    axis = figure.subplots()
    ends = [[points[stage]] if stage in points else [] for stage in ("before", "after")]
    axis.plot(*_columns([*ends[0], *visited, *ends[1]]), color=FAINT, linewidth=1.2)
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
    bottom = bottom_of(y for _, y in [*points.values(), *visited])
    label = PLANES[metric][0].upper() + PLANES[metric][1:]
    frame(axis, label, bottom, points.get("reference"))
    figure.suptitle(record.name, x=0.01, ha="left", fontsize=10)
    figure.legend(labelspacing=0.8, loc="outside lower center", ncols=2)
    return figure


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
