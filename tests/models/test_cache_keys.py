"""What names a model in the cache: everything in and beside its folder that can change a number."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import tiny
from support.command import AUTOCAST, Command, row, write_rows

from unlearn.data.splits import Splits
from unlearn.models.identity import describe_base, key_of
from unlearn.models.prepare import Preparation
from unlearn.options.schema import Attention, ModelConfig
from unlearn.storage.weights import hash_weights

pytestmark = pytest.mark.slow

CHAT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model with tokenizer, template and generation configuration."""
    folder = tmp_path / "model"
    tiny.model().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHAT)
    (folder / "README.md").write_text("A model.")
    return folder


def in_json(name: str, change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        found = json.loads((folder / name).read_text())
        change(found)
        (folder / name).write_text(json.dumps(found, indent=2))

    return edit


def other_base(config: dict[str, object]) -> None:
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 100.0}


EDITS: dict[str, Callable[[Path], object]] = {
    "rotation": in_json("config.json", other_base),
    "generation": in_json("generation_config.json", lambda g: g.update(eos_token_id=[0, 5])),
    "tokenizer": in_json("tokenizer.json", lambda found: found.update(normalizer={"type": "NFC"})),
    "its options": in_json("tokenizer_config.json", lambda found: found.update(eos_token="x")),
    "template": lambda folder: (folder / "chat_template.jinja").write_text(CHAT + "Say: "),
    "one of more": lambda folder: (folder / "vocab.txt").write_text("a"),
}


def names(folder: Path, **options: object) -> tuple[str | None, str]:
    """What names the tables of a model, and a target that is made from it."""
    config = ModelConfig(path=str(folder), **options)
    preparation = Preparation(config, Splits("own", [], [], {}), tiny.COMPUTE)
    key = key_of(config, preparation.named("target", str(folder)))
    return key, json.dumps(describe_base(config), sort_keys=True)


@pytest.mark.parametrize("edit", EDITS)
def test_all_that_changes_a_number_is_in_both_names(edit: str, folder: Path) -> None:
    before, weights = names(folder), hash_weights(folder)
    assert names(folder) == before
    EDITS[edit](folder)
    after = names(folder)
    assert after[0] != before[0]
    assert after[1] != before[1]
    assert hash_weights(folder) == weights, "what a run notes of its weights is what it was"


def test_what_changes_none_is_in_neither(folder: Path) -> None:
    before = names(folder)
    (folder / "README.md").write_text("A good model.")
    (folder / "LICENSE.txt").write_text("MIT")
    (folder / "preparation.json").write_text("{}")
    assert names(folder) == before


def test_what_lies_outside_the_folder_is_in_both(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "tokenizer"
    tiny.tokenizer().save_pretrained(other)
    usual, given = names(folder), names(folder, tokenizer=str(other))
    assert usual[0] != given[0]
    assert usual[1] != given[1]
    (other / "chat_template.jinja").write_text(CHAT)
    again = names(folder, tokenizer=str(other))
    assert again[0] != given[0]
    assert again[1] != given[1]
    eager = names(folder, attention=Attention.eager)
    assert eager[0] != usual[0]
    assert eager[1] != usual[1]


def test_tables_of_another_configuration_are_not_served(
    folder: Path, unlearn: Command, own_cache: Path
) -> None:
    (folder / "chat_template.jinja").unlink()
    rows = [row(r.question, r.answer) for r in tiny.ROWS]
    write_rows(unlearn.folder / "forget.jsonl", rows[:3])
    write_rows(unlearn.folder / "retain.jsonl", rows[4:])
    own = ("data=files", "data.forget=forget.jsonl", "data.retain=retain.jsonl", "method=none")
    words = (*own, f"model.path={folder}", "tracker=none", "evaluation.max_new_tokens=4", AUTOCAST)
    first, again = unlearn(*words), unlearn(*words)
    assert again.status == 0, again.said
    assert "before: its tables are in the cache" in again.log
    assert again.summary["metrics"] == first.summary["metrics"]
    EDITS["rotation"](folder)
    changed = unlearn(*words)
    assert "its tables are in the cache" not in changed.log
    loss = changed.summary["metrics"]["before"]["forget/loss"]
    assert abs(loss - first.summary["metrics"]["before"]["forget/loss"]) > 1e-3
    shutil.rmtree(own_cache / "evaluations")
    assert unlearn(*words).summary["metrics"]["before"]["forget/loss"] == loss
