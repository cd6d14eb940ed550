"""``pareto.png``: all groups on the forget-retain plane, with their front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.report.comparison.gather import Comparison
from unlearn.report.comparison.groups import Section
from unlearn.report.comparison.planes import measured
from unlearn.report.comparison.styles import style
from unlearn.report.drawing import FAINT, INK, REFERENCE, STYLE, save_figure
from unlearn.report.fonts import make_legible
from unlearn.report.front import Point
from unlearn.report.samples import evenly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 8
"""Sections that are drawn; the page shows all, and a picture has a largest height."""
NAMED = 24
"""Groups that a legend can name; of more, those on the front are named, evenly spaced ones."""
LONGEST = 64
"""Characters of a name in the legend."""


def draw_front(path: Path, comparison: Comparison) -> Path | None:
    """Draw one panel a section; null where no section was measured on both splits."""
    import matplotlib
    from matplotlib.figure import Figure

    sections = [(i, s) for i, s in enumerate(comparison.sections) if s.measure][:PANELS]
    if not sections:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 5.6 * len(sections)), layout="constrained")
        axes = figure.subplots(len(sections), 1, squeeze=False)[:, 0]
        for axis, (number, section) in zip(axes, sections, strict=True):
            title = f"Kind {number + 1}: " if len(comparison.sections) > 1 else ""
            axis.set_title(f"{title}{section.common or 'forget and retain'}"[:110], fontsize=10)
            _panel(axis, section)
        make_legible(figure)
        save_figure(figure, path)
    return path


def _beyond(points: Sequence[Point]) -> bool:
    """Return whether a point is off the plane, where a layout would make room for its symbol."""
    return not all(-1 <= value <= 2 for point in points for value in point)


def _panel(axis: Axes, section: Section) -> None:
    drawn = section.planes[0]
    stairs, bottom = drawn.stairs, drawn.bottom
    if stairs:
        xs, heights = zip(*stairs, strict=True)
        axis.fill_between(xs, heights, min(bottom, 0), color=FAINT, alpha=0.1, linewidth=0)
        text = f"front, hypervolume {drawn.hypervolume:.3f}"
        axis.plot(xs, heights, color=INK, linewidth=1.1, linestyle="--", label=text)
    for name, marker, size, face, edge in (
        ("target", "o", 13, "none", INK),
        ("reference", "*", 16, REFERENCE, "white"),
    ):
        for x, y in drawn.landmarks.get(name, [])[:3]:
            look: dict[str, Any] = {"markerfacecolor": face, "markeredgecolor": edge}
            look["clip_on"] = _beyond([(x, y)])
            axis.plot(x, y, marker, markersize=size, zorder=4, label=name, **look)
            name = f"_{name}"  # one line in the legend
    _points(axis, section)
    if drawn.below:
        hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": INK}
        text = "hollow: below the reference, over-forgotten"
        axis.plot([], [], "o", linestyle="none", label=text, **hollow)
    if section.choice.place is not None:
        x, y = drawn.places[section.choice.place].shown
        look = {"markerfacecolor": "none", "markeredgecolor": REFERENCE, "markeredgewidth": 2}
        axis.plot(x, y, "o", markersize=18, zorder=7, label="recommended", clip_on=False, **look)
    for x, y in drawn.landmarks.get("reference", [])[:1]:
        axis.axvline(x, color=REFERENCE, linewidth=0.9, linestyle=":")
        axis.axhline(y, color=REFERENCE, linewidth=0.9, linestyle=":")
    if drawn.plane.floor is not None:
        text = f"floor {drawn.plane.floor:g}: lower is no better"
        axis.axvline(drawn.plane.floor, color=FAINT, linewidth=0.9, linestyle=":", label=text)
    axis.set(xlim=drawn.reach, ylim=(bottom, 1 + 0.03 * (1 - bottom)))
    axis.set_xlabel(drawn.plane.across)
    axis.set_ylabel(drawn.plane.up)
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def _points(axis: Axes, section: Section) -> None:
    """Draw each group's mean, and its seeds smaller around it; hollow below the reference."""
    drawn = section.planes[0]
    groups = range(len(section.groups))
    # A legend that is longer than the picture leaves it no room.
    named = set(groups if len(groups) <= NAMED else evenly(section.front, NAMED))
    front = set(section.front)
    for place, group in enumerate(section.groups):
        look, mean = style(place), drawn.places[place]
        label = group.short if len(group.short) <= LONGEST else group.short[: LONGEST - 2] + " …"
        seeds = [one for one in drawn.each[place] if measured(one.shown)]
        shape: dict[str, Any] = {"color": look.colour, "linestyle": "none"}
        shape["clip_on"] = _beyond([one.shown for one in (mean, *seeds)])
        if len(seeds) > 1:
            for below in (False, True):
                points = [one.shown for one in seeds if one.below == below]
                if points:
                    face = "white" if below else look.colour
                    small: dict[str, Any] = {"markersize": 3.5, "alpha": 0.55, **shape}
                    axis.plot(
                        *zip(*points, strict=True), look.marker, markerfacecolor=face, **small
                    )
        on_front = place in front
        shape |= {"label": label if place in named else None, "zorder": 5 + on_front}
        # What is hollow keeps its colour at the edge.
        edge = look.colour if mean.below else INK if on_front else "white"
        shape |= {"markerfacecolor": "white" if mean.below else look.colour}
        shape |= {"markeredgewidth": 1.8 if mean.below else 1.0}
        axis.plot(*mean.shown, look.marker, markersize=8, markeredgecolor=edge, **shape)
