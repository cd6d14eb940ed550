"""Which records may be compared, and how a difference is told."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from unlearn.likeness import differences, key

RECORD: dict[str, Any] = {
    "name": "one",
    "seed": 0,
    "method": {"name": "ngdiff"},
    "data": {"name": "minitofu"},
    "model": {"name": "tiny", "target": {"path": "/cache/a"}, "reference": {"path": "/cache/b"}},
    "provenance": {
        "data_sha256": "d" * 64,
        "target_sha256": "a" * 64,
        "reference_sha256": "b" * 64,
        "evaluation": {
            "rows_sha256": "e" * 64,
            "rows": {"forget": 40, "retain": 80},
            "template": "plain",
            "max_length": 512,
            "max_new_tokens": 200,
            "stemmer": False,
            "min_k": 0.4,
            "precision": "cpu/float32",
            "kpis": {"pass_rate": {"_target_": "mine.pass_rate"}},
        },
    },
}


def changed(**changes: Any) -> dict[str, Any]:
    """The record with other values, `a__b` for a key within a key; None takes one away."""
    record = deepcopy(RECORD)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = record
        for parent in parents:
            node = node[parent]
        node[last] = value
    return record


EVALUATION = "provenance__evaluation__"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": 3, "method__name": "graddiff", "name": "two"},
        {"provenance__reference_sha256": None, "model__reference": None},
        {f"{EVALUATION}kpis": {}},
        {f"{EVALUATION}kpis": {"another": {"_target_": "mine.other"}}},
        {f"{EVALUATION}min_k": None},
    ],
    ids=["itself", "method and seed", "no reference", "no measure", "another measure", "older"],
)
def test_like(changes: dict[str, Any]) -> None:
    assert differences(RECORD, changed(**changes)) == []
    assert differences(changed(**changes), RECORD) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"provenance__target_sha256": "c" * 64},
            ["model before unlearning", "tiny (aaaaaaaaaaaa)"],
        ),
        ({"provenance__reference_sha256": "c" * 64}, ["reference model", "tiny (cccccccccccc)"]),
        (
            {"provenance__data_sha256": "f" * 64, "data__name": "tofu"},
            ["data: minitofu (dddddddddddd) and tofu (ffffffffffff)"],
        ),
        ({f"{EVALUATION}template": "chat"}, ["template of a question: plain and chat"]),
        ({f"{EVALUATION}max_new_tokens": 8}, ["most tokens of an answer: 200 and 8"]),
        ({f"{EVALUATION}precision": "cuda/bfloat16"}, ["cpu/float32 and cuda/bfloat16"]),
        (
            {
                f"{EVALUATION}rows": {"forget": 8, "retain": 80},
                f"{EVALUATION}rows_sha256": "0" * 64,
            },
            ["rows of forget: 40 and 8"],
        ),
        (
            {f"{EVALUATION}rows": {"forget": 40}, f"{EVALUATION}rows_sha256": "0" * 64},
            ["rows of retain: 80 and 0"],
        ),
        ({f"{EVALUATION}rows_sha256": "0" * 64}, ["questions that were asked", "(000000000000)"]),
        (
            {f"{EVALUATION}kpis": {"pass_rate": {"_target_": "mine.pass_rate", "least": 2}}},
            ["business measure kpi/pass_rate", "'least': 2"],
        ),
        ({"provenance__evaluation": None}, ["no record of what was evaluated"]),
        ({"provenance": {}}, ["no record of what was evaluated"]),
    ],
)
def test_unlike_in_one_way(changes: dict[str, Any], told: list[str]) -> None:
    (only,) = differences(RECORD, changed(**changes))
    assert all(fragment in only for fragment in told), only
    assert len(differences(changed(**changes), RECORD)) == 1


def test_every_difference_is_told() -> None:
    other = changed(**{f"{EVALUATION}template": "chat", f"{EVALUATION}max_length": 64})
    assert len(differences(RECORD, other)) == 2


def test_a_model_on_the_hub_goes_by_its_name() -> None:
    one, other = (
        changed(provenance__target_sha256=None, model__target={"path": path})
        for path in ("a/b", "a/c")
    )
    assert key(one)["model"] == "a/b"
    assert len(differences(one, other)) == 1
