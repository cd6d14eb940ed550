"""Tokenizers that do not fit their model, and models that cannot be had: one clear refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from huggingface_hub import constants
from support import tiny
from support.command import AUTOCAST, Command, Done, row, write_rows

from unlearn.errors import ConfigurationError
from unlearn.models import load
from unlearn.models.load import DAMAGED, load_tokenizer, way_out
from unlearn.options.schema import ModelConfig


def saved(folder: Path, tokenizer: Any) -> Path:
    tiny.model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def larger(**tokens: str) -> Any:
    """A tokenizer with tokens beyond the model's embedding."""
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tiny.tokenizer()._tokenizer, eos_token="<|end|>", **tokens
    )
    assert len(made) == len(tiny.tokenizer()) + 1
    return made


def measured(unlearn: Command, path: Path, *words: str) -> Done:
    rows = [row(r.question, r.answer) for r in tiny.ROWS]
    write_rows(unlearn.folder / "forget.jsonl", rows[:3])
    write_rows(unlearn.folder / "retain.jsonl", rows[4:])
    return unlearn(
        *("data=files", "data.forget=forget.jsonl", "data.retain=retain.jsonl", "tracker=none"),
        *("evaluation.max_new_tokens=4", "training.steps=2", AUTOCAST, f"model.path={path}"),
        *words,
    )


def test_a_tokenizer_larger_than_the_embedding_is_refused(
    tmp_path: Path, unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "model", larger(pad_token="<|pad|>", sep_token="<|turn|>"))
    monkeypatch.setattr(
        transformers.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("loaded")
    )
    done = measured(unlearn, path)
    assert done.status == 2, done.said
    (line,) = [line for line in done.log.splitlines() if "ERROR" in line]
    assert "1 tokens beyond the 400 embeddings" in line
    assert "'<|turn|>'" in line


@pytest.mark.slow
def test_a_pad_token_outside_the_embedding_changes_no_number(
    tmp_path: Path, unlearn: Command
) -> None:
    usual = measured(unlearn, saved(tmp_path / "usual", tiny.tokenizer()))
    path = saved(tmp_path / "model", larger(pad_token="<|padding|>"))
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "pad_token_id": 400}))
    done = measured(unlearn, path)
    assert done.status == 0, done.said
    assert done.summary["metrics"] == usual.summary["metrics"]
    assert done.weights == usual.weights


@pytest.mark.parametrize("installed", [True, False])
def test_a_sentencepiece_tokenizer_names_its_extra(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"pieces")
    monkeypatch.setattr(load, "find_spec", lambda name: object() if installed else None)
    said = way_out(str(tmp_path), ValueError("no tokenizer"))
    assert ("pip install 'sentencepiece" in said) is not installed
    assert not installed or said == DAMAGED


def test_the_extra_is_named_where_such_a_tokenizer_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.model().save_pretrained(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"pieces")
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"tokenizer\.model alone") as refused:
        load_tokenizer(ModelConfig(path=str(tmp_path)), str(tmp_path))
    assert str(refused.value).count("\n") == 0
    assert "HF_HUB_OFFLINE" not in str(refused.value)


def test_offline_is_said_only_where_it_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError("We couldn't connect to 'https://huggingface.co' to load the files")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE=1" in way_out("some/model", error)
    assert way_out(str(tmp_path), error) == DAMAGED
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    said = way_out("some/model", error)
    assert "HF_HUB_OFFLINE" not in said
    assert "hf download some/model --local-dir" in said
    gated = way_out("some/model", OSError("You are trying to access a gated repo."))
    assert "hf auth login" in gated


def test_a_cache_that_cannot_be_written_is_named(
    unlearn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "file"))
    done = unlearn("method=none", "tracker=none")
    assert done.status == 2
    (line,) = [line for line in done.said.splitlines() if "UNLEARN_CACHE" in line]
    assert "cannot be written" in line
    assert "Traceback" not in done.said
