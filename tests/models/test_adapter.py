"""A LoRA folder as model.path: merged into its base on load, or refused in one clear line."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import tiny
from support.command import AUTOCAST, Command, row, write_rows

from unlearn.errors import ConfigurationError
from unlearn.models import adapter
from unlearn.models.identity import hash_model
from unlearn.models.load import load_tokenizer, load_weights
from unlearn.models.places import location_problems
from unlearn.options.schema import ModelConfig

peft = pytest.importorskip("peft", reason="needs the extra lora")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, torch.Tensor]:
    """A base, a LoRA folder of it without a tokenizer, and what the two say together."""
    home = tmp_path_factory.mktemp("lora")
    base, lora = home / "base", home / "my-lora"
    tiny.model().save_pretrained(base)
    tiny.tokenizer().save_pretrained(base)
    loaded = load_weights(ModelConfig(path=str(base)), str(base))
    torch.manual_seed(0)
    options = peft.LoraConfig(r=2, init_lora_weights=False, task_type="CAUSAL_LM")
    with warnings.catch_warnings():  # peft asks transformers by names of its last version
        warnings.simplefilter("ignore", FutureWarning)
        adapted = peft.get_peft_model(loaded, options).eval()
    adapted.save_pretrained(lora)
    with torch.no_grad():
        return base, lora, adapted(torch.arange(1, 9)[None]).logits


def test_it_is_merged_on_load(folders: tuple[Path, Path, torch.Tensor]) -> None:
    base, lora, expected = folders
    config = ModelConfig(path=str(lora))
    assert location_problems(config) == []
    model = load_weights(config, str(lora)).eval()
    assert type(model).__name__ == "LlamaForCausalLM"
    ids = torch.arange(1, 9)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, expected)
        alone = load_weights(ModelConfig(path=str(base)), str(base)).eval()(ids).logits
    assert (alone - expected).abs().max() > 0.1
    assert load_tokenizer(config, str(lora)).get_vocab() == tiny.tokenizer().get_vocab()


def test_its_base_is_in_its_name(folders: tuple[Path, Path, torch.Tensor], tmp_path: Path) -> None:
    base, lora, _ = folders
    other = shutil.copytree(base, tmp_path / "other")
    usual = hash_model(ModelConfig(), str(lora))
    assert hash_model(ModelConfig(base=str(other)), str(lora)) == usual
    tiny.model(seed=1).save_pretrained(other)
    assert hash_model(ModelConfig(base=str(other)), str(lora)) != usual


@pytest.mark.slow
def test_a_run_saves_the_merged_model(
    folders: tuple[Path, Path, torch.Tensor], unlearn: Command
) -> None:
    _, lora, _ = folders
    rows = [row(r.question, r.answer) for r in tiny.ROWS]
    write_rows(unlearn.folder / "forget.jsonl", rows[:3])
    write_rows(unlearn.folder / "retain.jsonl", rows[4:])
    words = ("data=files", "data.forget=forget.jsonl", "data.retain=retain.jsonl", "tracker=none")
    short = ("evaluation.max_new_tokens=4", "training.steps=2", AUTOCAST)
    done = unlearn(*words, *short, f"model.path={lora}")
    assert done.status == 0, done.said
    assert done.summary["model"]["name"] == "my-lora"
    saved = done.folder / "model"
    assert not list(saved.glob("adapter*"))
    assert not adapter.is_adapter(str(saved))
    again = unlearn(*words, *short, f"model.path={saved}", "method=none")
    loss = again.summary["metrics"]["before"]["forget/loss"]
    assert loss == done.summary["metrics"]["after"]["forget/loss"]


def test_without_peft_the_extra_is_named(
    folders: tuple[Path, Path, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, lora, _ = folders
    monkeypatch.setattr(adapter, "find_spec", lambda name: None)
    (problem,) = location_problems(ModelConfig(path=str(lora)))
    assert "needs peft" in problem
    assert "pip install 'peft" in problem


@pytest.mark.parametrize("named", ["/gone/base", None])
def test_a_base_that_is_not_there(
    named: str | None, folders: tuple[Path, Path, torch.Tensor], tmp_path: Path
) -> None:
    base, lora, expected = folders
    lost = shutil.copytree(lora, tmp_path / "lost")
    record = json.loads((lost / "adapter_config.json").read_text())
    (lost / "adapter_config.json").write_text(
        json.dumps({**record, "base_model_name_or_path": named})
    )
    (problem,) = location_problems(ModelConfig(path=str(lost)))
    assert "model.base=FOLDER" in problem
    found = ModelConfig(path=str(lost), base=str(base))
    assert location_problems(found) == []
    with torch.no_grad():
        logits = load_weights(found, str(lost)).eval()(torch.arange(1, 9)[None]).logits
    torch.testing.assert_close(logits, expected)


def test_an_adapter_of_another_base_is_refused(
    folders: tuple[Path, Path, torch.Tensor], tmp_path: Path
) -> None:
    _, lora, _ = folders
    tiny.model("gpt2").save_pretrained(tmp_path)
    config = ModelConfig(path=str(lora), base=str(tmp_path))
    with pytest.raises(ConfigurationError, match="cannot be merged into its base"):
        load_weights(config, str(lora))


@pytest.mark.parametrize(
    ("broken", "told"), [(False, "missing adapter keys"), (True, "not finite, in the tensor")]
)
def test_an_adapter_that_is_not_whole_is_refused(
    broken: bool, told: str, folders: tuple[Path, Path, torch.Tensor], tmp_path: Path
) -> None:
    base, lora, _ = folders
    folder = shutil.copytree(lora, tmp_path / "broken")
    tensors = load_file(folder / "adapter_model.safetensors")
    name = next(name for name in tensors if "lora_B" in name)
    if broken:
        tensors[name][0, 0] = torch.nan
    else:
        del tensors[name]
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(ConfigurationError, match=told) as refused:
        load_weights(ModelConfig(path=str(folder), base=str(base)), str(folder))
    assert name.split(".lora_B")[0].removeprefix("base_model.model.") in str(refused.value)
