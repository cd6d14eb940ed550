"""The comparison in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unlearn.console import visible
from unlearn.report.comparison.gather import Comparison
from unlearn.report.comparison.groups import Group, Section
from unlearn.report.comparison.numbers import COLUMNS, UNPRINTED, written
from unlearn.report.comparison.statistics import Difference
from unlearn.report.plane import PLANES

COMPARED = ("model_utility", "forget_quality", "largest_retain_loss")
"""Beside the two axes and the distance, what groups are compared in seed by seed."""
WIDTH = 180
"""Columns where no terminal says how many it has."""


def console(file: IO[str] | None = None) -> Console:
    """Return a console as wide as the terminal, and wide enough for all columns without one."""
    wide = None if (file or sys.stdout).isatty() else WIDTH
    return visible.console(file, width=wide)


def print_comparison(comparison: Comparison, file: IO[str] | None = None) -> None:
    """Print a table a section, the differences from its baseline, and what did not complete."""
    out = console(file)
    for number, section in enumerate(comparison.sections):
        if len(comparison.sections) > 1:
            out.print(Text(heading(section, number), "bold"))
        out.print(_groups(section))
        for line in remarks(section):
            out.print(Text(line))
        if against := _differences(section):
            out.print(against)
    print_failed(comparison, out)


def heading(section: Section, number: int) -> str:
    """Name a section, and what keeps it from the first one."""
    summary = section.runs[0].summary
    parts = [(summary.get(part) or {}).get("name") for part in ("data", "model")]
    named = f"Kind {number + 1}: {', '.join(str(part) for part in parts if part)}".rstrip(": ")
    return f"{named} - apart from kind 1: {'; '.join(section.unlike)}" if number else named


def remarks(section: Section) -> list[str]:
    """Return the lines below a table: front, what all were told, what to beware of."""
    lines = []
    if section.measure:
        plane = section.planes[0].plane
        lines.append(
            f"* on the front of {plane.name} ({PLANES[section.measure]}); hypervolume "
            f"{section.hypervolume:.4f} of the plane"
        )
        if plane.floor is not None:
            lines.append(f"no reference: lower is better down to the floor {plane.floor:g}")
        lines.append(f"recommended: {recommended(section)}")
    if section.common:
        lines.append(f"all: {section.common}")
    return lines + [f"note: {note}" for note in section.notes]


def recommended(section: Section) -> str:
    """Name the group that is taken and the rule, or why there is none."""
    place, why = section.choice
    named = f"none, as {why}" if place is None else section.groups[place].short
    return f"{named}. The rule: {section.rule}"


def print_failed(comparison: Comparison, out: Console) -> None:
    """Print a line for each run that did not complete, and for each that cannot be read."""
    for run in comparison.failed:
        line = f"not completed: {comparison.name(run)} seed={run.seed}: {run.error}"
        out.print(Text(line), soft_wrap=True)
    for problem in comparison.problems:
        out.print(Text(problem), soft_wrap=True)


def _groups(section: Section) -> Table:
    columns = {name: title for name, title in section.columns.items() if name in COLUMNS}
    if "retain/rougeL_recall" in columns:
        columns = {name: title for name, title in columns.items() if name not in UNPRINTED}
    table = Table(title="mean ± standard deviation over seeds")
    table.add_column("run", overflow="fold")
    table.add_column("seeds", justify="right")
    told = any(group.told_of for group in section.groups)
    for title in columns.values():
        table.add_column(title, justify="right")
    if told:
        table.add_column("beware", overflow="fold")
    front = set(section.front)
    for place, group in enumerate(section.groups):
        mark = "* " if place in front else ""
        name = Text(mark + group.short)
        more = [group.told_of] if told else []
        table.add_row(name, str(len(group.runs)), *map(group.cell, columns), *more)
    return table


def _differences(section: Section) -> Table | None:
    """Return the paired differences; null where no interval can be had."""
    columns, rows = differences(section)
    if not rows:
        return None
    table = Table(title=Text(f"difference {paired_with(section)} [95 % bootstrap interval]"))
    table.add_column("run", overflow="fold")
    table.add_column("pairs", justify="right")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for group, pairs, cells in rows:
        table.add_row(Text(group.short), str(pairs), *cells)
    return table


def paired_with(section: Section) -> str:
    """Return what the differences of a section are differences from, in words."""
    return f"from {section.baseline.short} on the same seeds"


def differences(
    section: Section, more: Sequence[str] = ()
) -> tuple[list[str], list[tuple[Group, int, list[Text]]]]:
    """Return the titles of the columns in which groups are compared with the baseline; and of each
    group with two pairs of seeds or more their number, and its differences as they are shown.

    `more` names columns besides those for which a terminal has room.
    """
    columns = {
        name: section.columns[name]
        for name in ("forget_distance", *section.axes, *COMPARED, *more)
        if name in section.columns
    }
    rows = []
    for group in section.groups:
        found, pairs = section.differences(group, columns)
        if pairs > 1:
            rows.append((group, pairs, [difference_cell(*one) for one in found.items()]))
    return list(columns.values()), rows


def difference_cell(column: str, difference: Difference | None) -> Text:
    """Write a difference with its interval, bold where the interval leaves 0 out."""
    if difference is None:
        return Text("-")
    text = ("+" if difference.mean > 0 else "") + _small(column, difference.mean)
    if difference.low is not None and difference.high is not None:
        text += f" [{_small(column, difference.low)}, {_small(column, difference.high)}]"
    return Text(text, "bold" if difference.apart else "")


def _small(column: str, value: float) -> str:
    """Write a difference, in scientific form where its decimals would all be 0."""
    text = written(column, value)
    return f"{value:.0e}" if value and not float(text) else text
