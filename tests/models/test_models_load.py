"""Models that are refused before their weights are read, and what names a prepared one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support import tiny

from benchmarks.architectures import random_model
from unlearn.compute.device import Compute
from unlearn.data.tokens import Encoder
from unlearn.errors import ConfigurationError
from unlearn.models.identity import describe_base
from unlearn.models.load import load_weights, ready
from unlearn.models.places import check_weights, location_problems
from unlearn.options.schema import Attention, ModelConfig

QUANTIZED = {"quant_method": "bitsandbytes", "load_in_4bit": True}
CHAT = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def folder_with(config: dict[str, Any], folder: Path) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize("quantization", [QUANTIZED, {"bits": 4}])
def test_a_quantized_folder_is_refused_in_one_line_that_helps(
    quantization: dict[str, Any], tmp_path: Path
) -> None:
    path = folder_with({"model_type": "llama", "quantization_config": quantization}, tmp_path)
    (problem,) = location_problems(ModelConfig(path=path))
    assert problem.startswith(f"model.path: {path!r} is quantized")
    assert "dequantize()" in problem
    assert "\n" not in problem
    assert [p.split(":")[0] for p in check_weights("reference", path)] == ["reference"]


@pytest.mark.parametrize("quantization", [{}, {"quantization_config": None}])
def test_other_folders_are_not(quantization: dict[str, Any], tmp_path: Path) -> None:
    path = folder_with({"model_type": "llama", **quantization}, tmp_path)
    assert location_problems(ModelConfig(path=path)) == []


def test_a_tokenizer_may_come_from_a_quantized_folder(tmp_path: Path) -> None:
    path = folder_with({"model_type": "llama", "quantization_config": QUANTIZED}, tmp_path)
    assert location_problems(ModelConfig(path="a/hub-id", tokenizer=path)) == []


def test_a_tokenizer_may_lie_beside_weights_that_nobody_fetched(tmp_path: Path) -> None:
    tiny.tokenizer().save_pretrained(tmp_path)
    folder_with({"model_type": "llama"}, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert location_problems(ModelConfig(path="a/hub-id", tokenizer=str(tmp_path))) == []
    (problem,) = location_problems(ModelConfig(path=str(tmp_path)))
    assert "pointer of git-LFS" in problem


def test_files_that_are_not_loaded_may_be_anything(tmp_path: Path) -> None:
    tiny.model().save_pretrained(tmp_path)
    (tmp_path / "model.fp16.safetensors").write_bytes(b"")
    (tmp_path / "modules.json").write_text("[1]")
    (tmp_path / "README.md").write_bytes(b"\xff")
    assert location_problems(ModelConfig(path=str(tmp_path))) == []


def test_a_gguf_file_is_dequantized_on_loading_and_so_not_refused(tmp_path: Path) -> None:
    path = folder_with({"model_type": "llama", "quantization_config": QUANTIZED}, tmp_path)
    assert location_problems(ModelConfig(path=path, gguf_file="model.gguf")) == []


def test_a_config_that_is_no_json_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    (problem,) = location_problems(ModelConfig(path=str(tmp_path)))
    assert "config.json is no JSON" in problem


def test_a_quantized_model_of_the_hub_is_refused_before_its_weights_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = transformers.LlamaConfig(quantization_config=QUANTIZED)
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", lambda *_, **__: found)
    asked: list[str] = []
    monkeypatch.setattr(
        transformers.AutoModelForCausalLM, "from_pretrained", lambda path, **_: asked.append(path)
    )
    with pytest.raises(ConfigurationError, match=r"model\.path: .some/model. is quantized"):
        load_weights(ModelConfig(path="some/model"), "some/model")
    assert asked == []


def described(template: str | None, **options: Any) -> dict[str, Any]:
    """What names a target of some model whose tokenizer has this template."""
    tokenizer = copy.deepcopy(tiny.tokenizer())
    tokenizer.chat_template = template
    config = ModelConfig(path="some/model", **options)
    given = {"chat_date": config.chat_date, "chat_options": config.chat_options}
    return describe_base(config, Encoder(tokenizer, **given))


def test_a_targets_name_knows_the_chat_template_and_its_variables() -> None:
    usual = described(CHAT)
    assert usual == described(CHAT)
    assert usual != described(CHAT.replace("assistant: ", "model: "))
    assert usual != described(CHAT, chat_options={"mood": "calm"})


def test_the_name_of_a_target_with_the_plain_template_is_what_it_was() -> None:
    assert described(None) == describe_base(ModelConfig(path="some/model"))
    names = {"dtype", "template", "max_length", "system_prompt", "chat_date", "fine_tuning"}
    assert set(described(None)) == names | {"path", "revision"}


@pytest.mark.parametrize(
    ("config", "chosen"),
    [
        (transformers.LlamaConfig, "sdpa"),
        (transformers.BloomConfig, "eager"),
        (transformers.MptConfig, "eager"),
        (transformers.Gemma2Config, None),
    ],
)
def test_the_architecture_chooses_its_attention(
    config: Any, chosen: str | None, tmp_path: Path
) -> None:
    shape = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "n_heads": 2}
    more = {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 32}
    sizes = {"d_model": 32, "n_layers": 1, "n_layer": 1, "n_head": 2, "head_dim": 16}
    made = config(**shape, **more, **sizes)
    transformers.AutoModelForCausalLM.from_config(made).save_pretrained(tmp_path)
    model = load_weights(ModelConfig(path=str(tmp_path)), str(tmp_path))
    assert chosen in (None, model.config._attn_implementation)
    eager = ModelConfig(path=str(tmp_path), attention=Attention.eager)
    ids = torch.arange(1, 9)[None]
    with torch.no_grad():
        one, other = (m.eval()(ids).logits for m in (model, load_weights(eager, str(tmp_path))))
    torch.testing.assert_close(one, other)


def test_a_pass_leaves_the_weights_as_they_were_loaded() -> None:
    """RWKV of transformers halves weights in place in evaluation mode, and would save them so."""
    model = random_model("RWKV", tiny.tokenizer())
    loaded = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model = ready(model, ModelConfig(), Compute(torch.device("cpu")))
    ids = torch.tensor([tiny.examples()[0].prompt])
    with torch.no_grad():
        model(input_ids=ids)
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "does not fit into memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "does not fit into memory"),
        (KeyError("x"), "cannot be loaded: KeyError: 'x'; its files are damaged"),
        (RecursionError("too deep"), "cannot be loaded: RecursionError: too deep"),
        (type("PanicException", (BaseException,), {})("panicked"), "PanicException: panicked"),
    ],
)
def test_whatever_a_library_raises_is_one_line(
    error: BaseException, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.model().save_pretrained(tmp_path)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(ConfigurationError) as refused:
        load_weights(ModelConfig(path=str(tmp_path)), str(tmp_path))
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_an_interrupt_while_a_model_loads_is_no_fault_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.model().save_pretrained(tmp_path)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_weights(ModelConfig(path=str(tmp_path)), str(tmp_path))
