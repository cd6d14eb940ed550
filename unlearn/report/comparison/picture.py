"""``pareto.png``: all groups on the forget-retain plane, with their front."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn.report.comparison.gather import Comparison
from unlearn.report.comparison.groups import CORNER, Section
from unlearn.report.comparison.styles import style
from unlearn.report.drawing import FAINT, INK, REFERENCE, STYLE, save_figure
from unlearn.report.fonts import make_legible
from unlearn.report.front import Point
from unlearn.report.plane import PLANES, bottom_of, frame
from unlearn.report.samples import evenly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 8
"""Sections that are drawn; the page shows all, and a picture has a largest height."""
NAMED = 24
"""Groups that a legend can name; of more, those on the front are named, evenly spaced ones."""
SPLITS = ("forget", "retain")
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


def landmarks(section: Section) -> dict[str, list[Point]]:
    """Return where targets and references lie on the plane, equal ones once."""
    found: dict[str, list[Point]] = {}
    for run in section.runs:
        for stage in ("before", "reference"):
            flat = run.metrics.get(stage, {})
            forget, retain = (flat.get(f"{split}/{section.measure}") for split in SPLITS)
            if forget is not None and retain is not None:
                point = (float(forget), float(retain))
                places = found.setdefault("target" if stage == "before" else stage, [])
                if all(_distance(point, place) > 1e-3 for place in places):
                    places.append(point)
    return found


def lowest_shown(section: Section) -> float:
    """Return where the retain axis begins, so that all that is drawn lies above."""
    marks = landmarks(section)
    ys = [y for _, y in [*section.points, *marks.get("target", []), *marks.get("reference", [])]]
    ys += [value for group in section.groups for value in group.values(f"retain/{section.measure}")]
    return bottom_of(ys)


def staircase(points: list[Point]) -> list[Point]:
    """Return the border of what the points of a front, by rising forget, dominate."""
    if not points:
        return []
    corners = [(points[0][0], CORNER[1]), points[0]]
    for (_, height), (x, y) in pairwise(points):
        corners += [(x, height), (x, y)]
    return [*corners, (max(CORNER[0], points[-1][0]), points[-1][1])]


def _distance(one: Point, other: Point) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _beyond(points: Sequence[Point]) -> bool:
    """Return whether a point is off the plane, where a layout would make room for its symbol."""
    return not all(-1 <= value <= 2 for point in points for value in point)


def _panel(axis: Axes, section: Section) -> None:
    assert section.measure is not None
    marks, bottom = landmarks(section), lowest_shown(section)
    front = [section.points[place] for place in section.front]
    if front:
        xs, heights = zip(*staircase(front), strict=True)
        axis.fill_between(xs, heights, min(bottom, 0), color=FAINT, alpha=0.1, linewidth=0)
        text = f"front, hypervolume {section.hypervolume:.3f}"
        axis.plot(xs, heights, color=INK, linewidth=1.1, linestyle="--", label=text)
    for name, marker, size, face, edge in (
        ("target", "o", 13, "none", INK),
        ("reference", "*", 16, REFERENCE, "white"),
    ):
        for x, y in marks.get(name, [])[:3]:
            look: dict[str, Any] = {"markerfacecolor": face, "markeredgecolor": edge}
            look["clip_on"] = _beyond([(x, y)])
            axis.plot(x, y, marker, markersize=size, zorder=4, label=name, **look)
            name = f"_{name}"  # one line in the legend
    _points(axis, section)
    frame(axis, PLANES[section.measure], bottom, next(iter(marks.get("reference", [])), None))
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def _points(axis: Axes, section: Section) -> None:
    """Draw each group's mean, and its seeds smaller around it."""
    groups = range(len(section.groups))
    # A legend that is longer than the picture leaves it no room.
    named = set(groups if len(groups) <= NAMED else evenly(section.front, NAMED))
    front = set(section.front)
    for place, group in enumerate(section.groups):
        look, (x, y) = style(place), section.points[place]
        label = group.short if len(group.short) <= LONGEST else group.short[: LONGEST - 2] + " …"
        seeds = [
            (run[f"forget/{section.measure}"], run[f"retain/{section.measure}"])
            for run in group.numbers
            if {f"{split}/{section.measure}" for split in SPLITS} <= run.keys()
        ]
        shape: dict[str, Any] = {"color": look.colour, "linestyle": "none"}
        shape["clip_on"] = _beyond([(x, y), *seeds])
        if len(seeds) > 1:
            axis.plot(*zip(*seeds, strict=True), look.marker, markersize=3.5, alpha=0.55, **shape)
        on_front = place in front
        shape |= {"label": label if place in named else None, "zorder": 5 + on_front}
        edge = INK if on_front else "white"
        axis.plot(x, y, look.marker, markersize=8, markeredgecolor=edge, **shape)
