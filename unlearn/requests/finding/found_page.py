"""``found.html``: what was found and why, for the person who decides; no script, no network."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from unlearn.requests.finding.outcome import Finding
from unlearn.storage.files import write_text_atomic

KINDS = {
    "name": "name the subject",
    "order": "name the subject, family name first",
    "id": "have a number or code of the subject's",
    "email": "have an e-mail address of the subject's",
    "pattern": "fit a pattern",
    "column": "have the value in the column",
    "passage": "have the passage, or a part of it",
    "paraphrase": "say what the passage says in other words",
    "misspelt": "name the subject misspelt",
    "ending": "name the subject in another form, or somebody of a similar name",
    "initials": "have initials that fit",
    "turned": "have the words of the name the other way round",
    "between": "have a further name between",
    "without": "have a part of the name",
    "double": "have a double name",
    "suffix": "have an addition to the name",
    "short": "have a short name that may be another word",
    "within": "have the name within a longer run of letters",
    "namesake": "name somebody who may be another person of the same name",
    "beside": "name the subject beside others",
    "family": "have the family name and something known of the subject",
    "alike": "say nearly the same as a row of the subject's, without the name",
    "facts": "share facts with the subject's rows, without the name",
    "close": "read like a row of the subject's by the model's embeddings",
    "near": "are near the subject and of others",
    "anywhere": "are drawn from everywhere",
}
"""What the rows of each kind do; the order of the page."""
_LONGEST = 700
SPELLINGS = 60


def write_found_page(path: Path, finding: Finding, kind: str) -> None:
    """Write the page; `kind` says what the rows are."""
    page = _template().render(
        finding=finding,
        kind=kind,
        kinds=KINDS,
        sections=[
            (split, list(_groups(finding, split))) for split in ("forget", "unsure", "retain")
        ],
        subject=list(_subject(finding)),
        spellings=finding.spellings.most_common(SPELLINGS),
        style_sheet=Markup((files(__package__) / "found_page.css").read_text(encoding="utf-8")),
    )
    write_text_atomic(path, page.encode("utf-8", "backslashreplace").decode() + "\n")


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {"marked": marked, "number": lambda number: f"{number:,}"}
    return environment.from_string((files(__package__) / "found_page.html").read_text("utf-8"))


def _groups(finding: Finding, split: str) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
    for kind in KINDS:
        if count := finding.kinds[split, kind]:
            yield KINDS[kind], count, finding.shown.get((split, kind), [])


def _subject(finding: Finding) -> Iterator[tuple[str, list[str]]]:
    subject = finding.subject
    yield "Names", list(subject.names)
    yield "Numbers", list(subject.ids)
    yield "E-mail", list(subject.emails)
    yield "Passages", [_cut(text) for text in subject.passages]
    yield "Patterns", list(subject.patterns)
    yield "Columns", [f"{column} = {value}" for column, value in subject.where]
    yield "Known of the subject", list(subject.about)
    yield "Known of others so called", list(subject.not_about)
    yield "To be kept", list(subject.keep)


def marked(shown: dict[str, Any], finding: Finding) -> Markup:
    """Return the text of a row, with what it is found by marked where it stands as given."""
    told = str(shown["because"])
    text = _cut(str(shown["text"]))
    words = [part.split("”")[0] for part in told.split("“")[1:]]
    words += [word for word in (*finding.subject.names, *finding.subject.emails) if word in text]
    found = Markup("")
    at = 0
    while at < len(text):
        places = [(text.find(word, at), -len(word), word) for word in words if word]
        here = min((place for place in places if place[0] >= 0), default=None)
        if here is None:
            break
        found += escape(text[at : here[0]]) + Markup("<mark>%s</mark>") % here[2]
        at = here[0] + len(here[2])
    return found + escape(text[at:])


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
