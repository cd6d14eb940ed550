"""Architectures of docs/models.md: losses of a plain loop, answers of `generate`, folders kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import transformers

from benchmarks.architectures import ARCHITECTURES
from benchmarks.models import (
    BEGIN,
    FINISH,
    PAGE,
    TEMPLATES,
    Found,
    changed_files,
    examined,
    table_of,
    worse,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own, of some architectures

QUICK = ("MPT", "Mixtral", "Mamba", "RWKV", "RecurrentGemma", "Jamba")
"""Each takes a way of its own: by column, with a router, by state, in itself, by both."""
OTHERS = [name for name in ARCHITECTURES if name not in QUICK]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    yield
    transformers.logging.set_verbosity(level)


def check(name: str, *templates: str) -> None:
    found = examined(name, templates)
    assert found.exact, found
    assert not found.refused
    assert found.distinct > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_few_architectures_are_exact(name: str) -> None:
    check(name, *TEMPLATES)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_architecture_is_exact(name: str) -> None:
    """Under the templates in turn: what a template ends a turn with, no model knows of."""
    check(name, list(TEMPLATES)[OTHERS.index(name) % len(TEMPLATES)])


def test_the_page_is_the_table() -> None:
    """Every architecture has its line, made from what was found of it."""
    table = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(FINISH)[0].strip()
    names = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]]
    assert names == list(ARCHITECTURES)
    assert len(names) >= 24
    written = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines()}
    one = Found("sdpa", 1e-7, 8, 8, 5, [], [])
    assert written["Llama"] in table_of(lambda _: one).splitlines()


def test_what_is_not_exact_is_told() -> None:
    good = Found("sdpa", 0.0, 8, 8, 5, [], [])
    off = Found("sdpa", 2e-3, 7, 8, 5, ["config.json"], [])
    assert good.exact and not off.exact
    assert worse([good, off]) is off
    assert off.line[1:4] == ["off by 2e-03", "7 of 8", "config.json"]
    refused = Found("eager", 0.0, 0, 0, 0, [], [], "no")
    assert worse([good, refused]).line[-1] == "refused: no"


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    for folder, text in (("one", "{}"), ("other", '{"a": 1}')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text(text)
        (tmp_path / folder / "tokenizer.json").write_text("{}")
    assert changed_files(tmp_path / "one", tmp_path / "other") == ["config.json"]
    (tmp_path / "other" / "chat_template.jinja").write_text("x")
    assert changed_files(tmp_path / "one", tmp_path / "other")[1:] == ["chat_template.jinja"]
