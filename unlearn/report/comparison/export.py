"""The comparison as files for other programs: CSV, and a Markdown table for a page."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from unlearn.report.comparison.gather import Comparison
from unlearn.report.comparison.groups import Group, Section
from unlearn.report.comparison.numbers import COLUMNS
from unlearn.report.comparison.statistics import spread
from unlearn.storage.files import write_text_atomic

MARKERS = ("<!-- table -->", "<!-- end of table -->")
"""Between these a page of documentation holds its table."""


def write_csv(path: Path, comparison: Comparison) -> None:
    """Write one line a group; docs/comparison.md describes the columns."""
    measured = {name for section in comparison.sections for name in section.columns}
    names = [*COLUMNS, *sorted(measured - COLUMNS.keys())]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    numbers = [f"{name}{suffix}" for name in names for suffix in ("", "_std")]
    against = [f"{name}{suffix}" for name in names for suffix in ("_diff", "_low", "_high")]
    writer.writerow(
        ["run", "seeds", *numbers, "kind", "on_front", "accepted", "baseline", "pairs", *against]
    )
    for number, section in enumerate(comparison.sections):
        for place, group in enumerate(section.groups):
            cells: list[Any] = [group.label, len(group.runs)]
            for name in names:
                values = group.values(name)
                cells += [f"{x:.6g}" for x in spread(values)] if values else ["", ""]
            cells += [number + 1, "yes" if place in section.front else "no", group.accepted]
            writer.writerow([*cells, *_against(section, group, names)])
    write_text_atomic(path, text.getvalue())


def _against(section: Section, group: Group, names: list[str]) -> list[Any]:
    found, pairs = section.differences(group, names)
    cells: list[Any] = [section.baseline.label, pairs or ""]
    for one in found.values():
        values = (one.mean, one.low, one.high) if one else (None, None, None)
        cells += ["" if value is None else f"{value:.6g}" for value in values]
    return cells


def write_markdown(path: Path, comparison: Comparison) -> None:
    """Write the table, into an existing page between its two markers, or as a page of its own."""
    parts = []
    for number, section in enumerate(comparison.sections):
        if number:
            parts.append(f"Apart, as they are unlike: {'; '.join(section.unlike)}")
        parts.append(_table(section))
    if comparison.failed:
        lines = [
            f"- `{comparison.name(run)} seed={run.seed}`: {run.error}" for run in comparison.failed
        ]
        parts += ["Not completed:", "\n".join(lines)]
    table = "\n\n".join(parts) + "\n"
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    before, begin, rest = page.partition(MARKERS[0])
    _, end, after = rest.partition(MARKERS[1])
    write_text_atomic(path, f"{before}{begin}\n{table}{end}{after}" if begin and end else table)


def _table(section: Section) -> str:
    lines = [
        "| run | seeds | " + " | ".join(section.columns.values()) + " |",
        "|---|---:|" + "---:|" * len(section.columns),
    ]
    for group in section.groups:
        cells = " | ".join(map(group.cell, section.columns))
        label = group.label.replace("|", "\\|")
        lines.append(f"| `{label}` | {len(group.runs)} | {cells} |")
    return "\n".join(lines)
