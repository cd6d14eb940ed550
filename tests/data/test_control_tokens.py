"""Texts that hold the strings of control tokens are warned of, once, with their rows."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from support import tiny

from unlearn.data.control_tokens import control_strings, warn_of_control_tokens
from unlearn.data.splits import Row, Splits, Turn


def tokenizer() -> Any:
    made = copy.deepcopy(tiny.tokenizer())
    made.add_special_tokens({"additional_special_tokens": ["<|turn_end|>", "<|turn|>"]})
    made.add_tokens(["<think>"])
    return made


def splits(forget: list[Row], retain: list[Row], **evaluated: list[Row]) -> Splits:
    scored = {"forget": forget, "retain": retain, **evaluated}
    return Splits("own", forget, retain, evaluated=scored)


def test_the_rows_are_named_once_with_their_count(caplog: pytest.LogCaptureFixture) -> None:
    clean = Row("Who?", "Ann <b>said</b> <think> of it.")
    forget = [clean, Row("What?", "It ends<|turn_end|> here."), Row("<|end|>?", "No.")]
    before = (Turn("system", "<|turn|>user"),)
    retain = [clean, clean, clean, Row("Where?", "Oslo.", before=before)]
    warn_of_control_tokens(tokenizer(), splits(forget, retain, holdout=[clean, forget[1]]))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    said = record.getMessage()
    assert said.startswith("4 rows of the data, rows forget 2, 3; retain 4; holdout 2, hold ")
    assert "control tokens, not as text: <|end|>, <|turn_end|>, <|turn|>." in said


def test_rows_without_them_need_no_word(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_control_tokens(tokenizer(), splits(tiny.ROWS[:4], tiny.ROWS[4:]))
    assert not caplog.records


def test_what_is_warned_of_is_what_the_tokenizer_makes_one_id_of() -> None:
    made = tokenizer()
    for text in control_strings(made):
        (number,) = made.encode(text, add_special_tokens=False)
        assert made.decode([number], skip_special_tokens=True) == ""
    assert "<think>" not in control_strings(made)
