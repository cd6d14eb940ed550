"""The parts of the page that need no script: headings, tables, what failed. All text is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from statistics import fmean

from unlearn.report.comparison.columns import difference_cell
from unlearn.report.comparison.export import accepted
from unlearn.report.comparison.gather import Comparison
from unlearn.report.comparison.groups import Group, Section
from unlearn.report.comparison.numbers import cell, shown
from unlearn.report.comparison.styles import style

SHAPES = {
    "circle": "M6 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9z",
    "square": "M2 2h8v8h-8z",
    "triangle-up": "M6 1l5.2 9.5h-10.4z",
    "diamond": "M6 .3l5.2 5.7l-5.2 5.7l-5.2-5.7z",
    "triangle-down": "M6 11l5.2-9.5h-10.4z",
    "cross": "M4.3 1h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
    "x": "M3.3 1l2.7 2.7l2.7-2.7l2.3 2.3l-2.7 2.7l2.7 2.7l-2.3 2.3l-2.7-2.7l-2.7 2.7l-2.3-2.3"
    "l2.7-2.7l-2.7-2.7z",
    "pentagon": "M6 .8l5.3 3.9l-2 6.2h-6.6l-2-6.2z",
    "triangle-left": "M1 6l9.5-5.2v10.4z",
    "triangle-right": "M11 6l-9.5-5.2v10.4z",
}
"""Plotly's symbols as paths in a box of 12 by 12."""
TEXTS = ("run", "folder", "accepted", "front", "error")
"""Columns of text, which stands on the left."""
DASHES = {"solid": "none", "dash": "5 2", "dot": "1.5 1.5", "dashdot": "5 1.5 1.5 1.5"}


def swatch(place: int) -> str:
    """Draw the symbol of the group at `place`, on a piece of its line."""
    look = style(place)
    return (
        f'<svg class="swatch" viewBox="-6 0 24 12" aria-hidden="true"><path d="M-6 6h24" '
        f'stroke="{look.colour}" stroke-dasharray="{DASHES[look.dash]}" fill="none"/>'
        f'<path d="{SHAPES[look.symbol]}" fill="{look.colour}"/></svg>'
    )


def groups_table(section: Section) -> str:
    """Return the sortable table with a row a group."""
    columns = shown(run for group in section.groups for run in group.numbers)
    judged = any(accepted(group) for group in section.groups)
    head = [_head("run"), _head("seeds"), *[_head("accepted")] * judged, _head("front")]
    head += [_head(title, section.better(name)) for name, title in columns.items()]
    rows = []
    for place, group in enumerate(section.groups):
        front = "yes" if place in section.front else ""
        cells = [_name(place, group.short), _number(str(len(group.runs)), len(group.runs))]
        cells += [*[_text(accepted(group))] * judged, _text(front)]
        for name in columns:
            values = group.values(name)
            cells.append(_number(cell(name, values), fmean(values) if values else None))
        rows.append(f'<tr data-group="{place}">{"".join(cells)}</tr>')
    return _table("One row a group of seeds, mean ± standard deviation", head, rows)


def runs_table(section: Section) -> str:
    """Return the sortable table with a row a run."""
    columns = shown(run for group in section.groups for run in group.numbers)
    judged = any(accepted(group) for group in section.groups)
    head = [_head("run"), _head("seed"), _head("folder"), *[_head("accepted")] * judged]
    head += [_head(title, section.better(name)) for name, title in columns.items()]
    rows = []
    for place, group in enumerate(section.groups):
        for run, numbers in zip(group.runs, group.numbers, strict=True):
            verdict = {True: "yes", False: "no", None: ""}[run.accepted]
            cells = [_name(place, group.short), _number(str(run.seed), run.seed)]
            cells += [_text(run.path.name), *[_text(verdict)] * judged]
            for name in columns:
                values = [numbers[name]] if name in numbers else []
                cells.append(_number(cell(name, values), numbers.get(name)))
            rows.append(f'<tr data-group="{place}">{"".join(cells)}</tr>')
    return _table("One row a run", head, rows)


def differences_table(section: Section) -> str:
    """Return the paired differences from the baseline; empty with a single group."""
    others = [group for group in section.groups if group is not section.baseline]
    if not others:
        return ""
    columns = shown(run for group in section.groups for run in group.numbers)
    head = [_head("run"), _head("pairs")]
    head += [_head(title, section.better(name)) for name, title in columns.items()]
    rows = [_differences(section, group, list(columns)) for group in others]
    return (
        "<h3>Differences from the baseline</h3><p>Each run minus "
        f"<code>{escape(section.baseline.short)}</code> at the same seed, and the mean of these "
        "pairs with its 95 % bootstrap interval; bold where the interval leaves 0 out. Without "
        "two pairs there is no interval.</p>"
        + _table("Paired differences from the baseline", head, rows)
    )


def _differences(section: Section, group: Group, columns: Sequence[str]) -> str:
    found = {name: section.difference(group, name) for name in columns}
    pairs = max((one.pairs for one in found.values() if one), default=0)
    place = section.groups.index(group)
    cells = [_name(place, group.short), _number(str(pairs), pairs)]
    for name, one in found.items():
        text = difference_cell(name, one)
        bold = ' class="apart"' if "bold" in str(text.style) else ""
        value = "" if one is None else f"{one.mean!r}"
        cells.append(f'<td data-value="{value}"{bold}>{escape(text.plain)}</td>')
    return f'<tr data-group="{place}">{"".join(cells)}</tr>'


def curve_choices(section: Section) -> str:
    """Return a box to tick for each group whose curves may be drawn."""
    boxes = [
        f'<label><input type="checkbox" data-group="{place}">{swatch(place)} '
        f"{escape(group.short)}</label>"
        for place, group in enumerate(section.groups)
    ]
    return f'<div class="choices">{"".join(boxes)}</div>'


def failures(comparison: Comparison) -> str:
    """Return the runs that did not complete, and the records that could not be read."""
    rows = [
        f"<tr>{_text(comparison.name(run))}{_number(str(run.seed), run.seed)}{_text(run.path.name)}"
        f"{_text(run.error or '')}</tr>"
        for run in comparison.failed
    ]
    parts = []
    if rows:
        head = [_head(name) for name in ("run", "seed", "folder", "error")]
        parts.append(_table("Runs that did not complete", head, rows, "failed"))
    parts += [f"<p>{escape(problem)}</p>" for problem in comparison.problems]
    return f"<section><h2>Not completed</h2>{''.join(parts)}</section>" if parts else ""


def _table(caption: str, head: Sequence[str], rows: Sequence[str], kind: str = "") -> str:
    # Tables are wider than a telephone: the box scrolls, also by keyboard.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="sortable {kind}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{''.join(head)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _head(title: str, good: str = "") -> str:
    note = f"<small>{escape(good)}</small>" if good else ""
    kind = ' class="text"' if title in TEXTS else ""
    return (
        f'<th scope="col" data-better="{escape(good)}"{kind}><button type="button">{escape(title)}'
        f"{note}</button></th>"
    )


def _name(place: int, label: str) -> str:
    return (
        f'<th scope="row" data-value="{escape(label)}">{swatch(place)}<button type="button" '
        f'class="show" data-group="{place}">{_breakable(label)}</button></th>'
    )


def _breakable(label: str) -> str:
    """Escape a label that may be broken behind the signs that overrides are made of."""
    return re.sub(r"([=_,/]|\.(?=[a-z]))", r"\1<wbr>", escape(label, quote=False))


def _text(text: str) -> str:
    return f'<td class="text" data-value="{escape(text)}">{escape(text)}</td>'


def _number(text: str, value: float | None) -> str:
    return f'<td data-value="{"" if value is None else repr(value)}">{escape(text)}</td>'
