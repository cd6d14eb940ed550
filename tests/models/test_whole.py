"""A model whose files lack a tensor, or hold one that is no number, is refused by its name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support import tiny
from support.command import AUTOCAST, Command, row, write_rows
from test_models_fetch_smollm2 import write_tiny_gguf
from torch import Tensor

from unlearn.console import once
from unlearn.errors import ConfigurationError
from unlearn.models.load import load_weights
from unlearn.models.whole import require_finite
from unlearn.options.schema import ModelConfig

Tensors = dict[str, Tensor]
UP = "model.layers.1.mlp.up_proj.weight"
WORDS = "model.embed_tokens.weight"


def change(folder: Path, edit: Callable[[Tensors], Any]) -> None:
    """Edit the tensors of a saved model."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def load(folder: Path, **options: Any) -> Any:
    return load_weights(ModelConfig(path=str(folder), **options), str(folder))


def without(tensors: Tensors) -> None:
    del tensors[UP]


def renamed(tensors: Tensors) -> None:
    tensors["model.layers.1.mlp.upwards.weight"] = tensors.pop(UP)


def of_another_shape(tensors: Tensors) -> None:
    tensors[UP] = tensors[UP][:10].contiguous()


def a_layer_less(tensors: Tensors) -> None:
    for name in [name for name in tensors if ".layers.1." in name]:
        del tensors[name]


def with_nan(tensors: Tensors) -> None:
    tensors[UP][3, 4] = torch.nan


def with_infinity(tensors: Tensors) -> None:
    tensors[WORDS][0, 0] = -torch.inf


BROKEN: dict[str, tuple[Callable[[Tensors], None], list[str]]] = {
    "removed": (without, [f"lacks the tensor {UP!r}", "LlamaForCausalLM"]),
    "renamed": (renamed, [f"lacks the tensor {UP!r}", "'model.layers.1.mlp.upwards.weight'"]),
    "of another shape": (of_another_shape, [UP, "another shape ([10, 32] instead of [64, 32])"]),
    "a layer less": (a_layer_less, ["lacks 9 tensors (such as 'model.layers.1.input_layernorm."]),
    "NaN": (with_nan, ["not finite", f"the tensor {UP!r}"]),
    "infinity": (with_infinity, ["not finite", f"the tensor {WORDS!r}"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_model_is_refused_by_the_name_of_its_tensor(case: str, tmp_path: Path) -> None:
    edit, fragments = BROKEN[case]
    tiny.model().save_pretrained(tmp_path)
    change(tmp_path, edit)
    with pytest.raises(ConfigurationError) as refused:
        load(tmp_path)
    said = str(refused.value)
    assert said.startswith(f"model.path: {str(tmp_path)!r} ") and "\n" not in said
    for fragment in fragments:
        assert said.count(fragment) == 1, said


@pytest.mark.slow
@pytest.mark.parametrize("case", BROKEN)
def test_nothing_is_measured_of_it(case: str, unlearn: Command) -> None:
    edit, fragments = BROKEN[case]
    folder = unlearn.folder / "model"
    tiny.model().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    change(folder, edit)
    rows = [row(r.question, r.answer) for r in tiny.ROWS]
    write_rows(unlearn.folder / "forget.jsonl", rows[:3])
    write_rows(unlearn.folder / "retain.jsonl", rows[4:])
    words = ("data=files", "data.forget=forget.jsonl", "data.retain=retain.jsonl", "tracker=none")
    done = unlearn(*words, AUTOCAST, "training.steps=2", f"model.path={folder}")
    assert done.status == 2, done.said
    assert all(fragment in done.said for fragment in fragments)
    assert done.said.count("ERROR") == 1
    assert "Traceback" not in done.said and "LOAD REPORT" not in done.said + done.log
    assert done.summary["status"] == "failed"
    assert not (done.folder / "evaluations").exists()
    assert not (done.folder / "metrics.jsonl").read_text()


def tied_llama() -> Any:
    config = tiny.model().config
    config.tie_word_embeddings = True
    return transformers.LlamaForCausalLM(config)


@pytest.mark.parametrize("made", [lambda: tiny.model("gpt2"), tied_llama], ids=["GPT-2", "Llama"])
def test_a_tied_weight_is_not_missing(
    made: Callable[[], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = made()
    model.save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    with caplog.at_level(logging.WARNING):
        loaded = load(tmp_path)
    assert caplog.messages == []
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight
    expected = dict(model.named_parameters())
    assert all(torch.equal(weight, expected[name]) for name, weight in loaded.named_parameters())


def test_the_head_of_another_task_is_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny.model()
    model.save_pretrained(tmp_path)
    change(tmp_path, lambda tensors: tensors.update({"score.weight": torch.ones(2, 32)}))
    once.said.clear()
    for _ in range(2):
        loaded = load(tmp_path)
    told = [line.getMessage() for line in caplog.records if line.name.startswith("unlearn")]
    assert len(told) == 1 and "the tensor 'score.weight'" in told[0]
    expected = dict(model.named_parameters())
    assert all(torch.equal(weight, expected[name]) for name, weight in loaded.named_parameters())


@pytest.mark.parametrize("lost", ["", "blk.0.ffn_up"])
def test_a_gguf_file_is_looked_at_as_well(lost: str, tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "tiny.gguf", without=lost)
    if not lost:
        assert load(tmp_path, gguf_file="tiny.gguf").config.num_hidden_layers == 1
        return
    with pytest.raises(ConfigurationError, match=r"lacks the tensor 'model\.layers\.0\.mlp\.up_pr"):
        load(tmp_path, gguf_file="tiny.gguf")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_entry_of_every_precision_is_looked_at(dtype: torch.dtype) -> None:
    model = torch.nn.Linear(37, 41).to(dtype)
    largest = torch.finfo(dtype).max
    with torch.no_grad():
        model.weight.fill_(largest)  # a sum would overflow
    model.register_buffer("mask", torch.full((3,), -torch.inf))
    model.register_buffer("none", torch.empty(0))
    require_finite(model, "model.path", "here")
    draw = torch.Generator().manual_seed(0)
    for broken in (torch.nan, torch.inf, -torch.inf):
        for place in torch.randint(37 * 41, (20,), generator=draw).tolist():
            with torch.no_grad():
                model.weight.view(-1)[place] = broken
            with pytest.raises(ConfigurationError, match="the tensor 'weight'"):
                require_finite(model, "model.path", "here")
            with torch.no_grad():
                model.weight.view(-1)[place] = largest
    model.get_buffer("mask")[1] = torch.nan
    with pytest.raises(ConfigurationError, match="the tensor 'mask'"):
        require_finite(model, "model.path", "here")
