"""What the figures share: colours, columns of the record, smoothing, scales and titles."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearn.storage.files import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours: safe for colour-blind eyes.
FORGET, RETAIN, REFERENCE = "#D55E00", "#0072B2", "#009E73"
INK, FAINT = "#333333", "#8A8A8A"

STYLE: dict[Any, Any] = {
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "font.size": 9.5,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "savefig.dpi": 130,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}

MANY = 100
"""Training lines from which on a curve is smoothed."""

Lines = Sequence[Mapping[str, Any]]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture whole or not at all; raises NotWritten where the disk is full."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with writing(path):
        try:
            figure.savefig(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def column(lines: Lines, name: str) -> np.ndarray:
    """One value a line, shape (lines,); what is missing or null becomes NaN, a gap in a curve."""
    values = [line.get(name) for line in lines]
    return np.array([np.nan if value is None else float(value) for value in values])


def curve(axis: Axes, lines: Lines, name: str, colour: str, label: str) -> None:
    """Draw one column; over many steps, faintly, with its running mean on top."""
    steps, values = column(lines, "step"), column(lines, name)
    if len(steps) < MANY:
        axis.plot(steps, values, color=colour, linewidth=1.4, label=label, **dots(steps))
        return
    axis.plot(steps, values, color=colour, linewidth=0.7, alpha=0.3)
    axis.plot(steps, running_mean(values), color=colour, linewidth=1.6, label=label)


def running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over a window of a 25th of the steps, centred, of the finite values in it."""
    window = np.ones(max(len(values) // 25, 1))
    total = np.convolve(np.nan_to_num(values), window, "same")
    count = np.convolve(np.isfinite(values).astype(float), window, "same")
    return np.where(count > 0.5, total / np.maximum(count, 1), np.nan)


def dots(steps: np.ndarray) -> dict[str, Any]:
    """Mark single steps where there are few: a line through one point cannot be seen."""
    return {"marker": ".", "markersize": 5} if len(steps) <= 20 else {}


def explodes(values: np.ndarray) -> bool:
    """Whether the largest value is more than 30 times the median: no linear axis shows both."""
    size = np.abs(values[np.isfinite(values)])
    return bool(size.size and size.max() > 30 * np.median(size))


def loss_scale(axis: Axes, columns: Sequence[np.ndarray]) -> None:
    """Leave the axis of losses linear, unless one of them explodes."""
    if any(explodes(values) for values in columns):
        negative = any((values <= 0).any() for values in columns)
        axis.set_yscale("symlog" if negative else "log")


def log_scale(axis: Axes, columns: Sequence[np.ndarray]) -> None:
    """Set a log scale whose labels stay readable within one decade and over many."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    values = np.concatenate(columns)
    values = values[values > 0]
    axis.set_yscale("log", nonpositive="mask")
    if values.size and values.max() < 100 * values.min():
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(FuncFormatter(_tick))


def _tick(value: float, _: int) -> str:
    return f"{value:g}" if value >= 1e-2 else f"{value:.0e}"


def legend(*axes: Axes, columns: int = 3) -> int:
    """Put one legend for all ``axes`` of a panel above it, where it hides no data.

    Returns its height in rows, for the title to leave room.
    """
    handles = [handle for axis in axes for handle in axis.get_legend_handles_labels()[0]]
    axes[0].legend(
        handles=handles,
        ncols=columns,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        borderaxespad=0.1,
        borderpad=0.2,
        columnspacing=1.4,
        handlelength=1.6,
    )
    return math.ceil(len(handles) / columns)
