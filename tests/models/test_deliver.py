"""What is saved is what was measured, in the form of the checkpoint that it came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from support import tiny
from support.command import AUTOCAST, Command, Done, row, write_rows
from torch.nn.utils.parametrizations import weight_norm

from unlearn.errors import NumericalError, UnlearnError
from unlearn.models.deliver import Form, round_weights, save_unlearned

pytestmark = pytest.mark.slow

BF16 = Form(torch.bfloat16, "asked for")


def reloaded(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def dtypes(folder: Path) -> set[str]:
    """The precision of every tensor on disk."""
    found = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            found |= {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    return found


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_rounded_weights_are_saved_bit_for_bit(architecture: str, tmp_path: Path) -> None:
    model = tiny.model(architecture)
    assert round_weights(model, BF16) > 0.9
    assert round_weights(model, BF16) == 0.0
    save_unlearned(model, tiny.tokenizer(), tmp_path / "model", BF16)
    assert dtypes(tmp_path / "model") == {"BF16"}
    saved, ours = reloaded(tmp_path / "model").state_dict(), model.state_dict()
    assert saved.keys() == ours.keys()
    assert all(torch.equal(saved[name], ours[name]) for name in ours)
    assert model.dtype == torch.float32


def test_a_model_that_would_lose_weights_is_not_saved(tmp_path: Path) -> None:
    model = tiny.model()
    weight_norm(model.model.layers[0].mlp.up_proj)
    with pytest.raises(UnlearnError, match=r"was not saved: .*LlamaForCausalLM whole"):
        save_unlearned(model, tiny.tokenizer(), tmp_path / "model", BF16)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_were_not_rounded_are_told(tmp_path: Path) -> None:
    model = tiny.model()
    round_weights(model, BF16)
    wrong = Form(torch.float16, "asked for")
    with torch.no_grad():
        model.model.norm.weight.mul_(1 + 2**-12)  # float16 keeps eleven bits
    with pytest.raises(UnlearnError, match="not those that were measured"):
        save_unlearned(model, tiny.tokenizer(), tmp_path / "model", wrong)


def test_a_weight_that_overflows_is_told() -> None:
    model = tiny.model()
    with torch.no_grad():
        model.model.norm.weight[0] = 1e6
    with pytest.raises(NumericalError, match=r"save_dtype: model\.norm\.weight"):
        round_weights(model, Form(torch.float16, "asked for"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in bfloat16, in several files, with other files beside it."""
    folder = tmp_path_factory.mktemp("checkpoint") / "my-model"
    tiny.model(dtype=torch.bfloat16).save_pretrained(folder, max_shard_size="20KB")
    tiny.tokenizer().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"torch_dtype": config.pop("dtype"), "rope_theta": 10000.0, "my_note": "kept"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text('{"temperature": 0.6, "do_sample": true}')
    (folder / "README.md").write_text("# My model")
    (folder / "LICENSE").write_text("MIT")
    (folder / "preprocessor_config.json").write_text('{"size": 1}')
    (folder / "training_args.bin").write_bytes(b"a pickle")
    return folder


def unlearned(command: Command, path: Path, *words: str) -> Done:
    rows = [row(r.question, r.answer) for r in tiny.ROWS]
    write_rows(command.folder / "forget.jsonl", rows[:3])
    write_rows(command.folder / "retain.jsonl", rows[4:])
    done = command(
        *("data=files", "data.forget=forget.jsonl", "data.retain=retain.jsonl"),
        *("tracker=none", "evaluation.max_new_tokens=4", "training.steps=3", AUTOCAST),
        *(f"model.path={path}", *words),
    )
    assert done.status == 0, done.said
    return done


def test_the_saved_folder_is_like_the_given_one(checkpoint: Path, unlearn: Command) -> None:
    done = unlearned(unlearn, checkpoint)
    saved = done.folder / "model"
    shards = sorted(path.name for path in checkpoint.glob("*.safetensors"))
    assert len(shards) > 2
    assert sorted(path.name for path in saved.glob("*.safetensors")) == shards
    assert dtypes(saved) == {"BF16"}
    here, there = (json.loads((f / "config.json").read_text()) for f in (saved, checkpoint))
    assert here == there
    kept = ("generation_config.json", "README.md", "LICENSE", "preprocessor_config.json")
    for name in (*kept, *(path.name for path in checkpoint.glob("token*"))):
        assert (saved / name).read_bytes() == (checkpoint / name).read_bytes(), name
    assert not (saved / "training_args.bin").exists()
    assert "rounded to it" in done.log
    assert done.summary["model"]["rounded"] > 0.1
    # What is scored as `after` is what is saved.
    again = unlearned(unlearn, saved, "method=none")
    before, after = again.summary["metrics"]["before"], done.summary["metrics"]["after"]
    assert before["forget/loss"] == after["forget/loss"]
    assert before["retain/loss"] == after["retain/loss"]
    assert after["forget/loss"] != done.summary["metrics"]["before"]["forget/loss"]


def test_another_precision_on_request(checkpoint: Path, unlearn: Command) -> None:
    done = unlearned(unlearn, checkpoint, "model.save_dtype=float32")
    saved = done.folder / "model"
    assert dtypes(saved) == {"F32"}
    assert json.loads((saved / "config.json").read_text())["torch_dtype"] == "float32"
    assert done.summary["model"]["rounded"] == 0
