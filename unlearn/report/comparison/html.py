"""``comparison.html``: one page that holds everything it needs and asks nothing of a network.

What models wrote is untrusted: in the markup it is escaped, in the data no ``<`` is left to end the
script, and the script puts it on the page as text. The page forbids itself all requests besides.
"""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from pathlib import Path

from unlearn.report.comparison import markup
from unlearn.report.comparison.gather import Comparison
from unlearn.report.comparison.groups import Section
from unlearn.report.comparison.numbers import PLANES
from unlearn.report.comparison.payload import payload
from unlearn.report.comparison.printed import heading
from unlearn.storage.files import write_text_atomic

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""What the page may load: nothing but what stands in it."""


def write_page(path: Path, comparison: Comparison, name: str) -> Path:
    """Write the page, titled by `name`; returns its path."""
    from plotly.offline import get_plotlyjs

    title = f"Comparison: {escape(name)}"
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_resource('page.css')}</style>"
    )
    sections = [_section(section, i, comparison) for i, section in enumerate(comparison.sections)]
    body = (
        f"<header><h1>{title}</h1><p>{escape(_opening(comparison))}</p></header><main>"
        f"{''.join(sections)}{markup.failures(comparison)}</main>"
    )
    scripts = (
        f"<script>{get_plotlyjs()}</script>"
        f'<script type="application/json" id="data">{embedded(payload(comparison))}</script>'
        f"<script>{_resource('page.js')}</script>"
    )
    page = f'<!doctype html><html lang="en"><head>{head}</head><body>{body}{scripts}</body></html>'
    write_text_atomic(path, page + "\n")
    return path


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


def _section(section: Section, number: int, comparison: Comparison) -> str:
    several = len(comparison.sections) > 1
    parts = [f"<h2>{escape(heading(section, number))}</h2>" if several else ""]
    if section.common:
        parts.append(f"<p>All were told <code>{escape(section.common)}</code>.</p>")
    parts += [f'<p class="note">Note: {escape(note)}.</p>' for note in section.notes]
    parts += ["<h3>Results</h3>", markup.groups_table(section)]
    if any(len(group.runs) > 1 for group in section.groups):
        rows = markup.runs_table(section)
        parts.append(f"<details><summary>One row a run</summary>{rows}</details>")
    parts += [_plane(section), markup.differences_table(section), _curves(section), _questions()]
    return f'<section class="kind" data-kind="{number}">{"".join(parts)}</section>'


def _plane(section: Section) -> str:
    if not section.measure:
        return "<p>No forget-retain plane: no run was measured on both splits.</p>"
    labels = [section.groups[place].short for place in section.front]
    front = "; ".join(labels[:6]) + (f"; and {len(labels) - 6} more" if len(labels) > 6 else "")
    return (
        "<h3>Forgetting and keeping</h3>"
        f"<p>{escape(PLANES[section.measure])} on the forget rows (left is better) and on the "
        "retain rows (up is better). Large symbols are groups' means, small ones single seeds. "
        f"On the front, beaten by no other on both: <code>{escape(front)}</code>. The "
        f"hypervolume, the share of the plane that it dominates, is {section.hypervolume:.4f}. "
        "Point at a symbol, or press a name in the table.</p>"
        '<div class="plane"><div class="chart" data-chart="plane"></div>'
        '<div class="card" aria-live="polite"></div></div>'
    )


def _curves(section: Section) -> str:
    return (
        "<h3>Training</h3><p>Both losses and the learning rate at each step, a line a run.</p>"
        f"{markup.curve_choices(section)}"
        '<p class="tools"><button type="button" data-all="yes">all</button>'
        '<button type="button" data-all="">none</button>'
        '<label><input type="checkbox" data-log> losses on a log scale</label>'
        '<span data-points></span></p><div class="curves">'
        '<div class="chart" data-chart="forget"></div><div class="chart" data-chart="retain"></div>'
        '<div class="chart" data-chart="rate"></div></div>'
    )


def _questions() -> str:
    return (
        '<h3>Question by question</h3><div class="tools browse">'
        '<label>Run <select data-run="first"></select></label>'
        '<label>Beside it <select data-run="second"></select></label>'
        "<label>Split <select data-split></select></label>"
        '<label>Search <input type="search" data-search></label>'
        "<label>Sort by <select data-sort>"
        '<option value="row">row</option><option value="lowest">ROUGE-L after, lowest first'
        '</option><option value="highest">ROUGE-L after, highest first</option>'
        '<option value="change">change from before, largest first</option></select></label></div>'
        '<p data-found role="status"></p><div data-list></div>'
        '<p><button type="button" data-more>Show more</button></p>'
    )
