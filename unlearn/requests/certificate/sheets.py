"""``certificate.html`` with its JSON, and ``decision.html``: pages that hold all that they need.

They have no script and ask nothing of a network; what people and models wrote is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from unlearn.errors import ConfigurationError
from unlearn.requests.book import writing_in
from unlearn.requests.certificate.box import figure
from unlearn.requests.certificate.facts import facts_of
from unlearn.requests.certificate.lights import bounds_of, is_share, shown
from unlearn.requests.options import Reporting
from unlearn.requests.phrases import words_in
from unlearn.requests.shelf import Shelf
from unlearn.storage.files import write_json_atomic, write_text_atomic
from unlearn.storage.sealed import file_sha256

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a page may load: nothing but what stands in it."""
TOLD = ("rougeL_recall", "probability", "exact_memorization", "extraction_strength")
"""Measures of the certificate's table; certificate.json has all."""
CERTIFICATE, RECORD, DECISION = "certificate.html", "certificate.json", "decision.html"


def write(
    ledger: Shelf, name: str, reporting: Reporting | None = None, texts: bool = False
) -> list[Path]:
    """Write both pages and the record of a request into its folder; returns their paths.

    `reporting`: null for what the ledger was started with. `texts`: also show rows to forget, with
    what the models before and after answer. Raises ConfigurationError where nothing was run yet.
    """
    reporting = reporting or ledger.choices.reporting
    facts = facts_of(ledger, name, reporting, texts)
    words = words_in(reporting.language)
    place = ledger.place(name)
    paths = [place / file for file in (CERTIFICATE, RECORD, DECISION)]
    try:
        write_text_atomic(paths[0], rendered("certificate", facts, words))
        write_json_atomic(paths[1], facts)
        write_text_atomic(paths[2], rendered("decision", facts, words))
    except OSError as error:
        raise ConfigurationError(f"the report could not be written: {error}") from error
    with writing_in(ledger.folder):
        sums = {path.name: file_sha256(path) for path in paths}
        told = {"language": reporting.language, "texts": texts, "files": sums}
        ledger.book.append("reported", {"id": name, **told})
    return paths


def rendered(page: str, facts: Mapping[str, Any], words: Mapping[str, Any]) -> str:
    """Return a page from the facts of a request, in the words of a language."""
    text = _template(page).render(
        facts=facts,
        words=words,
        policy=POLICY,
        style_sheet=Markup(_resource("sheet.css")),
        figure=figure(facts, words),
        metrics=told_metrics(facts),
        label=lambda metric: label(metric, words),
        rule=lambda condition: rule(condition, words),
        shown=shown,
    )
    # A text of a file need not be one: half letters are in no file of ours.
    return text.strip().encode("utf-8", "backslashreplace").decode() + "\n"


def told_metrics(facts: Mapping[str, Any]) -> list[str]:
    """Return the metrics of the certificate's table, those of conditions among them."""
    after = facts["metrics"].get("after", {})
    splits = ("forget", "forgotten", "retain", "general")
    names = [f"{split}/{name}" for split in splits for name in TOLD]
    names += ["model_utility", *(name for name in after if name.startswith(("kpi/", "lm_eval/")))]
    names += [condition["metric"] for condition in facts["conditions"]]
    there = [name for name in names if name in after and not name.startswith("attack/")]
    return list(dict.fromkeys(there))


def label(metric: str, words: Mapping[str, Any]) -> str:
    """Return a metric in words of the language; its own name where there are none."""
    split, _, name = metric.rpartition("/")
    measure, rows = words["measures"].get(name), words["splits"].get(split)
    if measure and (rows or not split):
        return str(words["of_rows"].format(measure=measure, rows=rows)) if split else str(measure)
    group = split.split("/")[0]
    known = words["groups"].get(group)
    return str(known.format(name=name if group == "kpi" else metric)) if known else metric


def rule(condition: Mapping[str, Any], words: Mapping[str, Any]) -> str:
    """Return what a condition asks for, in words."""
    low, high = bounds_of(condition)
    metric, rules = condition["metric"], words["rules"]
    if is_share(metric):
        low = None if low is not None and low <= 0 else low
        high = None if high is not None and high >= 1 else high
    if low is None and high is None:
        return str(rules["unknown" if condition["bound"] is None else "any"])
    if low is not None and high is not None:
        return str(rules["between"].format(low=shown(metric, low), high=shown(metric, high)))
    key, bound = ("at_least", low) if low is not None else ("at_most", high)
    return str(rules[key].format(bound=shown(metric, bound)))


@cache
def _template(page: str) -> Template:
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    return environment.from_string(_resource("head.html") + _resource(f"{page}.html"))


def _resource(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
