"""``comparison.html``: one page that holds everything it needs and asks nothing of a network.

What models wrote is untrusted: in the markup it is escaped, in the data no ``<`` is left to end the
script, and the script puts it on the page as text. The page forbids itself all requests besides.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from statistics import fmean

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from unlearn.report.comparison.gather import Comparison
from unlearn.report.comparison.payload import payload
from unlearn.report.comparison.printed import difference_cell, heading
from unlearn.report.comparison.statistics import Difference
from unlearn.report.comparison.styles import style
from unlearn.storage.files import write_text_atomic

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""What the page may load: nothing but what stands in it."""


def write_page(path: Path, comparison: Comparison, name: str) -> Path:
    """Write the page, titled by `name`; returns its path."""
    from plotly.offline import get_plotlyjs

    page = _template().render(
        title=name,
        policy=POLICY,
        opening=_opening(comparison),
        comparison=comparison,
        style_sheet=Markup(_resource("page.css")),
        plotly=Markup(get_plotlyjs()),
        data=Markup(embedded(payload(comparison))),
        script=Markup(_resource("page.js")),
    )
    # A folder's name need not be text: Python reads it as half letters, which no file holds.
    told = page.lstrip().encode("utf-8", "backslashreplace").decode()
    write_text_atomic(path, told + "\n")
    return path


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {"breakable": _breakable, "sortable": _sortable}
    environment.globals |= {
        "difference": _difference,
        "heading": heading,
        "mean": fmean,
        "style": style,
    }
    return environment.from_string(_resource("page.html"))


def embedded(data: object) -> str:
    """Return JSON that cannot end the script element it stands in, whatever its texts say."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _resource(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _opening(comparison: Comparison) -> str:
    runs = sum(len(section.runs) for section in comparison.sections)
    groups = len(comparison.groups)
    verdicts = [run.accepted for section in comparison.sections for run in section.runs]
    told = f"{_count(runs, 'completed run')} in {_count(groups, 'group')} of seeds"
    if len(comparison.sections) > 1:
        told += f", of {len(comparison.sections)} kinds that are unlike and stand apart"
    if any(verdict is not None for verdict in verdicts):
        told += f"; {sum(map(bool, verdicts))} accepted"
    if comparison.failed:
        told += f"; {len(comparison.failed)} not completed, listed at the end"
    return told + "."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _sortable(value: object) -> str:
    """Return by what a cell is sorted, in as many digits as a person may tell apart."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _breakable(label: str) -> Markup:
    """Escape a label that may be broken behind the signs that overrides are made of."""
    return Markup(re.sub(r"([=_,/]|\.(?=[a-z]))", r"\1<wbr>", str(escape(label))))


def _difference(column: str, one: Difference | None) -> str:
    return difference_cell(column, one).plain
