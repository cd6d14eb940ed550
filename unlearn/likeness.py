"""What two results must share for their numbers to be compared, and where they do not share it.

A result is keyed by the model that was unlearned, the data, the template and what was measured.
Runs that differ in method, schedule or seed have one key: these are what a comparison is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TITLES = {
    "model": "model before unlearning",
    "reference": "reference model",
    "data": "data",
    "template": "template of a question",
    "system_prompt": "system prompt",
    "chat_date": "date of the chat template",
    "max_length": "most tokens of a row",
    "max_new_tokens": "most tokens of an answer",
    "stemmer": "MUSE by stems",
    "min_k": "share of tokens that min_k reads",
    "precision": "device and precision",
    "rows_sha256": "questions that were asked",
}
"""What people call the entries of a key; one without a title goes by its own name."""
ROWS = "rows of "
MEASURE = "business measure kpi/"


def key(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a result is keyed by, flat; an entry that the record lacks is left out.

    `record` is a run's summary.json or a record.json of `unlearn-evaluate`: both tell their models
    and data under `provenance`, and under `provenance.evaluation` what was measured.
    """
    known = record.get("provenance") or {}
    evaluation = dict(known.get("evaluation") or {})
    rows, measures = evaluation.pop("rows", {}), evaluation.pop("kpis", {})
    found = {
        "model": _model(record, "target"),
        "reference": _model(record, "reference"),
        "data": known.get("data_sha256"),
        **{f"{ROWS}{split}": count for split, count in rows.items()},
        **evaluation,
        **{f"{MEASURE}{name}": options for name, options in measures.items()},
    }
    return {name: value for name, value in found.items() if value is not None}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return in words what keeps the numbers of two records from being compared; [] if nothing.

    A record without a reference is like one with it: it only lacks some metrics. The same holds for
    a business measure, and for an entry that an older record does not tell. A record that tells
    nothing of its evaluation is like no other.
    """
    keys = key(one), key(other)
    if not all("rows_sha256" in found for found in keys):
        return ["one of the two has no record of what was evaluated"]
    names = [*TITLES, *sorted((keys[0].keys() | keys[1].keys()) - TITLES.keys())]
    unlike = []
    for name in names:
        pair = [found.get(name, 0 if name.startswith(ROWS) else None) for found in keys]
        if None not in pair and pair[0] != pair[1]:
            unlike.append(name)
    if any(name.startswith(ROWS) for name in unlike):
        unlike.remove("rows_sha256")  # the counts say it better than two hashes
    return [_told(name, (one, other), keys) for name in unlike]


def _model(record: Mapping[str, Any], role: str) -> str | None:
    """Return the hash of the weights of `target` or `reference`; the path of a hub's model."""
    sha256 = (record.get("provenance") or {}).get(f"{role}_sha256")
    return sha256 or ((record.get("model") or {}).get(role) or {}).get("path")


def _told(
    name: str, records: tuple[Mapping[str, Any], ...], keys: tuple[dict[str, Any], ...]
) -> str:
    """Say one difference; hashes with the name of what they stand for, and short."""
    shown = []
    for record, found in zip(records, keys, strict=True):
        value = found.get(name, 0)
        if name in ("model", "reference", "data", "rows_sha256"):
            part = "model" if name in ("model", "reference") else "data"
            chosen = (record.get(part) or {}).get("name", part)
            value = f"{chosen} ({str(value)[:12]})"
        shown.append(str(value))
    return f"{TITLES.get(name, name)}: {' and '.join(shown)}"
