"""Which runs may be compared at all: like with like, and the difference named in words.

Numbers of two evaluations mean the same where both asked the same rows of the same kind of model in
the same way. Runs whose evaluations differ are never averaged, nor drawn on one plane.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from unlearn.report.comparison.runs import Run

WORDS = {
    "data": "data",
    "rows": "evaluated rows",
    "rows_sha256": "content of the evaluated rows",
    "data_sha256": "content of the data",
    "model": "model",
    "template": "template",
    "system_prompt": "system_prompt",
    "chat_date": "chat_date",
    "chat_options": "chat_options",
    "prompt_sha256": "prompt of the chat template",
    "max_length": "max_length",
    "max_new_tokens": "max_new_tokens",
    "stemmer": "stemmer",
    "words": "words",
    "min_k": "min_k",
    "end_token": "end_token",
    "precision": "precision",
    "reference": "reference",
}
"""What has to be the same, in the order in which differences are told."""
EXPLAINED = {
    "data": ("rows", "rows_sha256", "data_sha256", "reference"),
    "rows": ("rows_sha256",),
    "model": ("reference", "template", "prompt_sha256"),
    "template": ("prompt_sha256",),
    "system_prompt": ("prompt_sha256",),
    "chat_date": ("prompt_sha256",),
    "chat_options": ("prompt_sha256",),
    "rows_sha256": ("data_sha256",),
    "data_sha256": ("reference",),
}
"""What must differ as well where a field differs, and so need not be told."""
UNRECORDED = "not recorded"


def likeness(run: Run) -> dict[str, Any]:
    """Return everything that two runs must share, by the names of :data:`WORDS`.

    Older runs lack the identity of their evaluation; those fields are "not recorded".
    """
    origin = run.provenance
    known = origin.get("evaluation") or {}
    model = run.summary.get("model") or {}
    named = [str(model.get(key)) for key in ("name", "path") if model.get(key)]
    fields = {name: known.get(name, UNRECORDED) for name in WORDS}
    if known:  # recorded only where there is one
        fields["chat_options"] = known.get("chat_options", "none")
        fields["end_token"] = known.get("end_token", True)  # always counted before it was asked
    if known.get("template") in ("plain", "raw"):
        fields["prompt_sha256"] = "none"
    return fields | {
        "data": (run.summary.get("data") or {}).get("name", UNRECORDED),
        "data_sha256": origin.get("data_sha256", UNRECORDED),
        "model": " ".join(named) or UNRECORDED,
        "reference": origin.get("reference_sha256", UNRECORDED) or "none",
    }


def apart(runs: Sequence[Run]) -> list[list[Run]]:
    """Return the runs in classes of like ones, in the order of their first runs."""
    classes: dict[str, list[Run]] = {}
    for run in runs:
        key = json.dumps(likeness(run), sort_keys=True, default=str)
        classes.setdefault(key, []).append(run)
    return list(classes.values())


def differences(here: Run, there: Run) -> list[str]:
    """Say in words what keeps two runs apart, such as ``max_new_tokens: 80 here, 200 there``."""
    one, other = likeness(here), likeness(there)
    differing = [name for name in WORDS if one[name] != other[name]]
    unrecorded = [name for name in differing if UNRECORDED in (one[name], other[name])]
    told = _told([name for name in differing if name not in unrecorded], one, other)
    if unrecorded:  # one sentence, instead of one for each field
        older = "here" if one[unrecorded[0]] == UNRECORDED else "there"
        told.append(f"how it was evaluated is not recorded {older}")
    return told


def _told(names: Sequence[str], one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    explained = {name for cause in names for name in EXPLAINED.get(cause, ())}
    return [
        f"{WORDS[name]}: {_short(name, one[name])} here, {_short(name, other[name])} there"
        for name in names
        if name not in explained
    ]


def _short(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {count}" for key, count in value.items())
    if name.endswith("sha256") or (name == "reference" and len(str(value)) == 64):
        return str(value)[:8]
    return str(value)
