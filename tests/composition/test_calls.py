"""Runs that Python calls: values as Hydra would read them, and a run folder as the command's."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from support.command import QUICK, files_in, undeclared
from support.ledgers import undrawn

import unlearn
from unlearn.composition.calls import words_of
from unlearn.errors import ConfigurationError

VALUES: dict[str, Any] = {
    "training.steps": 4,
    "optimizer.lr": 1e-5,
    "accept.strict": True,
    "data.holdout": None,
    "data.forget": "My Rows [1].jsonl",
    "data.retain": '削除 "a\\b".jsonl',
    "model.path": "C:\\models\\",
    "model.system_prompt": "it's, {fine}",
    "tracker.tags": ["a b", 1, True],
    "accept.conditions": [{"metric": "forget/rougeL_recall", "at_most": 0.4, "of": "before"}],
    "data": "files",
}


def test_values_arrive_as_they_are() -> None:
    parsed = OverridesParser.create().parse_overrides(words_of(VALUES))
    assert {one.key_or_group: one.value() for one in parsed} == VALUES


def test_options_may_be_nested_or_overrides() -> None:
    assert words_of({"training": {"steps": 4}, "model": {"tiny": {"layers": 1}}}) == [
        "training.steps=4",
        "model.tiny.layers=1",
    ]
    assert words_of(["method=ngdiff", "seed=1"]) == ["method=ngdiff", "seed=1"]
    with pytest.raises(ConfigurationError, match="is one text"):
        words_of("method=ngdiff")


def test_a_call_leaves_what_the_command_leaves(tmp_path: Path) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with undrawn():
        result = unlearn.run(QUICK, folder=tmp_path / "run")
        written = files_in(tmp_path / "run")
        again = unlearn.run(QUICK, folder=tmp_path / "run")
    assert (root.handlers, root.level) == (handlers, level)
    assert result.summary == json.loads(written["summary.json"])
    assert result.summary["overrides"] == list(QUICK)
    assert result.summary["method"]["name"] == "ngdiff"
    assert {".hydra/config.yaml", ".hydra/overrides.yaml", "unlearn.log"} <= written.keys()
    assert result.accepted is None
    assert not undeclared_names(result)
    model, tokenizer = result.load()
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert again.summary == result.summary, "a complete run is returned, not run again"
    assert written.keys() == files_in(tmp_path / "run").keys()
    with pytest.raises(ConfigurationError, match="seed: 0 there, 1 now"):
        unlearn.run([*QUICK, "seed=1"], folder=tmp_path / "run")


def undeclared_names(result: unlearn.Result) -> list[str]:
    from support.command import Done

    return undeclared(Done(0, "", "", result.folder))


def test_what_is_wrong_is_raised_before_anything_is_written(tmp_path: Path) -> None:
    for wrong, told in (
        ({"nope": 1}, "nope"),
        ({"training.steps": -1}, "steps: -1"),
        ({"method": "nope"}, "method=nope: no such choice"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            unlearn.check(wrong)
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="is no folder of ours"):
        unlearn.run(QUICK, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    with pytest.raises(ConfigurationError, match="no completed run is there"):
        unlearn.Result.of(tmp_path)
