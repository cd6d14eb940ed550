"""The section of the report that asks: is it really gone?"""

from __future__ import annotations

from unlearn.record.layout import RunFolder
from unlearn.report.markdown import cell, table, words
from unlearn.report.wording import number

MEANING = (
    "Each attack tries to get the forget rows back. The recovered share says how far it came from "
    "this model back to the model before unlearning: 0 = nothing came back, 1 = everything. The "
    "reference is attacked in the same way: a share like its own is what any model gains that has "
    "never seen these rows."
)


def attack_names(record: RunFolder) -> list[str]:
    """Return the names of the attacks that the run was put to; none where it was not attacked."""
    return list((record.summary.get("attacks") or {}).get("names") or [])


def share_names(record: RunFolder) -> list[str]:
    """Return those of the attacks that give a recovered share, measured or not."""
    stages = record.metrics.values()
    return [n for n in attack_names(record) if any(f"attack/{n}" in flat for flat in stages)]


def attacks_section(record: RunFolder) -> str:
    """Return the section, empty where no attack was run."""
    if not attack_names(record):
        return ""
    heading, names = "## Is it really gone?", share_names(record)
    if not names:
        return "\n\n".join([heading, *_notes(record)])
    stages = [stage for stage in ("after", "reference") if stage in record.metrics]
    rows = [
        [cell(name), *(number(record.metrics[stage].get(f"attack/{name}")) for stage in stages)]
        for name in names
    ]
    parts = [
        heading,
        " ".join([MEANING, _most(record, names)]).strip(),
        table(["recovered share under", *stages], rows, "l" + "r" * len(stages)),
        *_notes(record),
    ]
    return "\n\n".join(parts)


def _most(record: RunFolder, names: list[str]) -> str:
    """Say where most came back."""
    after, reference = (record.metrics.get(stage, {}) for stage in ("after", "reference"))
    shares = {name: share for name in names if (share := after.get(f"attack/{name}")) is not None}
    if not shares:
        return "No share could be measured here."
    most = max(shares, key=lambda name: shares[name])
    theirs = reference.get(f"attack/{most}")
    beside = f" (reference: {number(theirs)})" if theirs is not None else ""
    return f"Most came back under {words(most)}: {number(shares[most])}{beside}."


def _notes(record: RunFolder) -> list[str]:
    notes = (record.summary.get("attacks") or {}).get("notes") or {}
    lines = [f"- {stage}: {cell(note)}" for stage, of_it in notes.items() for note in of_it]
    return ["\n".join(lines)] if lines else []
