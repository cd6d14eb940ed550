"""Paths that Hydra's grammar does not take as they are: the message shows the form that works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from support.command import SMALL, Command, row, write_rows

from unlearn.composition.quoting import quoted_form

ROWS = [row("Who?", "Ada."), row("When?", "In spring.")]
WORDS = [word for word in SMALL if not word.startswith("data")]
NAMES = [
    "[a].jsonl",
    "削除.jsonl",
    "données/é.jsonl",
    "a (1).jsonl",
    "a=b.jsonl",
    "it's.jsonl",
    'say "a".jsonl',
    "a&b#1.jsonl",
    "{a}.jsonl",
    "a,b.jsonl",
    "~a.jsonl",
]


def answer_to(unlearn: Command, *words: str) -> str:
    """What is said of a request whose retain file is not there, so that no model loads."""
    done = unlearn(*WORDS, "data=files", "data.retain=absent.jsonl", *words)
    assert done.status == 2
    told = [line for line in done.said.splitlines() if " ERROR " in line or "unlearn: " in line]
    assert len(told) == 1 and "Traceback" not in done.said
    return told[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_form_that_is_shown_reads_the_file(name: str, unlearn: Command, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write_rows(tmp_path / name, ROWS)
    said = answer_to(unlearn, f"data.forget={name}")
    found = re.search(r"text it is written (.*)$", said)
    assert found, said
    (word,) = shlex.split(found[1])
    assert "data.retain=absent.jsonl: no such file" in answer_to(unlearn, word)


def test_a_space_in_one_word_needs_no_quotes_of_hydra(unlearn: Command, tmp_path: Path) -> None:
    (tmp_path / "My Files").mkdir()
    write_rows(tmp_path / "My Files" / "x.jsonl", ROWS)
    said = answer_to(unlearn, "data.forget=My Files/x.jsonl")
    assert "data.retain=absent.jsonl: no such file" in said


def test_a_path_that_the_shell_cut_is_put_together_again(unlearn: Command) -> None:
    said = answer_to(unlearn, "data.forget=My", "Files/of", "mine.jsonl")
    assert said.endswith("""written 'data.forget="My Files/of mine.jsonl"'""")


def test_a_list_is_no_path(unlearn: Command) -> None:
    said = answer_to(unlearn, "data.forget=[a]")
    assert "data.forget: Cannot convert 'ListConfig' to string" in said
    assert """quoted: 'OPTION="[text]"'""" in said


@pytest.mark.parametrize("value", ["a\\b,c", 'it\'s "both"', "end\\", "x y", "$(id)", "日本 語"])
def test_any_value_survives_the_shell_and_the_grammar(value: str) -> None:
    form = quoted_form(f"data.forget={value}")
    assert form is not None
    (word,) = shlex.split(form)
    assert OverridesParser.create().parse_override(word).value() == value


def test_what_quotes_do_not_mend_gets_none() -> None:
    assert quoted_form("just words") is None
    assert quoted_form("=x") is None
    assert quoted_form("training", ["tracker=none", "training"]) is None
