"""The comparison as files for other programs: CSV, and a Markdown table for a page."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from unlearn.console.visible import visible
from unlearn.errors import ConfigurationError
from unlearn.report.comparison.gather import Comparison
from unlearn.report.comparison.groups import Group, Section
from unlearn.report.comparison.numbers import COLUMNS
from unlearn.report.comparison.printed import differences, paired_with
from unlearn.report.comparison.statistics import spread
from unlearn.report.markdown import cell, code, table, words
from unlearn.storage.files import write_text_atomic

MARKERS = ("<!-- table -->", "<!-- end of table -->")
"""Between these a page of documentation holds its table."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan")
FORMULA = tuple("=+-@\t\r\n|%＝＋－＠")
"""What a spreadsheet takes for the beginning of a formula or command, full-width forms included."""


def write_csv(path: Path, comparison: Comparison) -> None:
    """Write one line a group; docs/comparison.md describes the columns."""
    measured = {name for section in comparison.sections for name in section.columns}
    names = [*COLUMNS, *sorted(measured - COLUMNS.keys())]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")

    def write(values: list[Any]) -> None:
        writer.writerow(map(harmless, values))

    numbers = [f"{name}{suffix}" for name in names for suffix in ("", "_std")]
    against = [f"{name}{suffix}" for name in names for suffix in ("_diff", "_low", "_high")]
    own = ["kind", "on_front", "accepted", "beware", "recommended"]
    write(["run", "seeds", *numbers, *own, "baseline", "pairs", *against])
    for number, section in enumerate(comparison.sections):
        front = set(section.front)
        for place, group in enumerate(section.groups):
            cells: list[Any] = [group.label, len(group.runs)]
            for name in names:
                values = group.values(name)
                cells += [f"{x:.6g}" for x in spread(values)] if values else ["", ""]
            cells += [number + 1, "yes" if place in front else "no", group.accepted]
            cells += [group.told_of, "yes" if place == section.choice.place else "no"]
            write([*cells, *_against(section, group, names)])
    write_text_atomic(path, text.getvalue())


def harmless(value: Any) -> Any:
    """Return what a spreadsheet shows as it is: a text that it would calculate begins with '.

    Numbers stay numbers, negative ones too.
    """
    if not isinstance(value, str) or NUMBER.fullmatch(value):
        return value
    return "'" + visible(value) if value.lstrip(" ").startswith(FORMULA) else visible(value)


def _against(section: Section, group: Group, names: list[str]) -> list[Any]:
    found, pairs = section.differences(group, names)
    cells: list[Any] = [section.baseline.label, pairs or ""]
    for one in found.values():
        values = (one.mean, one.low, one.high) if one else (None, None, None)
        cells += ["" if value is None else f"{value:.6g}" for value in values]
    return cells


def write_markdown(path: Path, comparison: Comparison) -> None:
    """Write the table, and that of paired differences, between the two markers of a page.

    A page that is not there is made.
    """
    parts = []
    for number, section in enumerate(comparison.sections):
        if number:
            parts.append(f"Apart, as they are unlike: {words('; '.join(section.unlike))}")
        parts.append(_table(section))
        parts += _differences(section)
    if comparison.failed:
        lines = [
            f"- {code(f'{comparison.name(run)} seed={run.seed}')}: {words(run.error)}"
            for run in comparison.failed
        ]
        parts += ["Not completed:", "\n".join(lines)]
    tables = "\n\n".join(parts) + "\n"
    before, after = check_page(path)
    write_text_atomic(path, f"{before}{MARKERS[0]}\n{tables}{MARKERS[1]}{after}")


def check_page(path: Path) -> tuple[str, str]:
    """Return what stands before and after the table of a page; a new page has nothing there.

    Raises ConfigurationError for a page without the two markers: nothing of it would be left.
    """
    try:
        page = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return "", "\n"
    except UnicodeDecodeError:
        page = ""
    before, begin, rest = page.partition(MARKERS[0])
    _, end, after = rest.partition(MARKERS[1])
    if not begin or not end:
        raise ConfigurationError(
            f"--markdown: {path} is there and has no place for a table; put the lines "
            f"{MARKERS[0]} and {MARKERS[1]} where it shall stand, or name a new file"
        )
    return before, after


def _table(section: Section) -> str:
    """Return the table of all numbers but details of attacks, which are in the CSV."""
    details = section.details
    columns = {name: title for name, title in section.columns.items() if name not in details}
    rows = [
        [code(group.label), str(len(group.runs)), *map(group.cell, columns)]
        for group in section.groups
    ]
    return _of_groups("seeds", columns.values(), rows)


def _differences(section: Section) -> list[str]:
    """Return the paired differences, a title and a table; nothing where no interval can be had."""
    columns, found = differences(section, section.shares)
    if not found:
        return []
    rows = [
        [code(group.label), str(pairs), *(f"**{one}**" if one.style else str(one) for one in cells)]
        for group, pairs, cells in found
    ]
    title = f"Difference {paired_with(section)}, mean and 95 % bootstrap interval"
    said = f"{words(title)}; bold where it leaves 0 out:"
    return [said, _of_groups("pairs", columns, rows)]


def _of_groups(counted: str, columns: Iterable[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of groups, whose second column is how many runs or pairs there are."""
    header = ["run", counted, *map(cell, columns)]
    return table(header, rows, "l" + "r" * (len(header) - 1))
