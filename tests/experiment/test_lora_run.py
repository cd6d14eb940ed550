"""model/adapter=lora as a person runs it: what is measured is the merged model, and is saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.command import AUTOCAST, QUICK, SMALL, Command

pytest.importorskip("peft", reason="needs the extra lora")

LORA = ("model/adapter=lora", "model.adapter.rank=2")
QLORA = ("model/adapter=qlora", "model.adapter.rank=2")


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.slow
def test_the_saved_model_is_the_merged_one_and_the_adapter_lies_beside_it(
    unlearn: Command,
) -> None:
    words = (*SMALL, *LORA, "model.adapter.save=true", "attack=[relearning]")
    best = ("evaluation.every=2", "evaluation.best=retain/loss")
    done = unlearn(*words, *best, "attack.relearning.rows=2", "attack.relearning.steps=1")
    assert done.status == 0, done.said
    assert not [line for line in done.warnings if "LoRA" in line or "peft" in line]
    assert "LoRA: rank 2 on 7 layers" in done.log
    after = done.summary["metrics"]["after"]
    # On the way the adapter is measured unmerged: the same model, but for rounding.
    taken = f"step_{done.summary['training']['best']['step']}"
    on_the_way = next(line for line in done.lines if line.get("stage") == taken)
    assert after["forget/loss"] == pytest.approx(on_the_way["forget/loss"], rel=1e-6)
    assert after["attack/relearning_probability"] is not None

    from transformers import AutoModelForCausalLM

    saved = done.folder / "model"
    target = Path(done.summary["model"]["target"]["path"])
    plain = AutoModelForCausalLM.from_pretrained(saved)
    assert sorted(plain.state_dict()) == sorted(
        AutoModelForCausalLM.from_pretrained(target).state_dict()
    )
    pairs = [(loaded(saved)[name], weight) for name, weight in loaded(target).items()]
    assert sum(not torch.equal(*pair) for pair in pairs) == 7, "the layers with an adapter alone"
    again = unlearn(*SMALL, "method=none", f"model.path={saved}", "target=as_is")
    assert again.status == 0, again.said
    assert again.summary["metrics"]["before"]["forget/loss"] == after["forget/loss"]

    beside = saved / "adapter"
    assert json.loads((beside / "adapter_config.json").read_text())["r"] == 2
    from unlearn.models.load import load_weights
    from unlearn.options.schema import ModelConfig

    merged = load_weights(ModelConfig(path=str(beside)), str(beside)).state_dict()
    for name, weight in loaded(saved).items():
        torch.testing.assert_close(merged[name], weight, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_a_second_request_goes_on_from_the_adapter_of_the_first(unlearn: Command) -> None:
    first = unlearn(*QUICK, *LORA, "model.adapter.save=true")
    assert first.status == 0, first.said
    path = f"model.path={first.folder / 'model' / 'adapter'}"
    second = unlearn(*QUICK, *LORA, path, "target=as_is", "training.steps=2")
    assert second.status == 0, second.said
    before = second.summary["metrics"]["before"]["forget/loss"]
    assert before == pytest.approx(first.summary["metrics"]["after"]["forget/loss"], rel=1e-5)
    refused = unlearn(*QUICK, *LORA, path, "model.adapter.save=true")
    assert refused.status == 2
    assert "model.adapter.save: true, but model.path" in refused.said


@pytest.mark.slow
def test_a_bfloat16_base_is_measured_and_saved_as_such(unlearn: Command) -> None:
    exact = unlearn(*QUICK, *LORA)
    done = unlearn(*QUICK, *LORA, "model.dtype=bfloat16", "model.save_dtype=bfloat16")
    assert done.status == 0, done.said
    assert done.summary["model"]["target"] == exact.summary["model"]["target"]
    assert {weight.dtype for weight in loaded(done.folder / "model").values()} == {torch.bfloat16}
    losses = [run.summary["metrics"]["before"]["forget/loss"] for run in (done, exact)]
    assert losses[0] != losses[1], "the tables of the float32 target were taken for these"
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    again = unlearn(
        *QUICK, *LORA, "model.dtype=bfloat16", f"model.path={done.folder / 'model'}", "target=as_is"
    )
    before = again.summary["metrics"]["before"]["forget/loss"]
    assert before == done.summary["metrics"]["after"]["forget/loss"]


REFUSED = {
    "a mask of the model's own neurons": (
        [*LORA, "method/interventions=[saliency_mask]"],
        "method.interventions.saliency_mask: chooses among the weights of the model itself",
    ),
    "relearning in bfloat16": (
        [*LORA, "model.dtype=bfloat16", "attack=[relearning]"],
        "attack.relearning: trains every weight of the merged model, and model.dtype=bfloat16",
    ),
    "bfloat16 that nothing trains": (
        [*LORA, "model.dtype=bfloat16", "method=none"],
        "model.dtype: bfloat16, but method=none",
    ),
    "bfloat16 alone": (["model.dtype=bfloat16"], "model.dtype: bfloat16 weights lose most updates"),
    "a module that is not there": (
        [*LORA, "model.adapter.target_modules=[query]"],
        "model.adapter.target_modules: ['query']: a LlamaForCausalLM cannot have this adapter",
    ),
    "one name": (
        [*LORA, "model.adapter.target_modules=q_proj"],
        "model.adapter.target_modules: 'q_proj'; allowed: all-linear, or a list of names",
    ),
    "no rank": ([*LORA, "model.adapter.rank=0"], "model.adapter.rank: 0; allowed: 1 or more"),
    "an option of none": (
        ["method.forget._target_=unlearn.objectives.Ascent", "model.adapter.rank=2"],
        "model.adapter.rank: no adapter is chosen; choose with model/adapter=lora",
    ),
    "dropout": ([*LORA, "+model.adapter.dropout=0.1"], "dropout"),
    "a gradient that 4 bits have not": (
        [*QLORA, "evaluation.gradient_norm=true"],
        "evaluation.gradient_norm: true, but model.adapter.quantize=nf4 keeps the model in 4 bits",
    ),
    "another kind of packing": ([*QLORA, "model.adapter.quantize=int8"], "model.adapter.quantize"),
    "a mask of neurons in 4 bits": (
        [*QLORA, "method/interventions=[saliency_mask]"],
        "method.interventions.saliency_mask: chooses among the weights of the model itself",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_by_name(
    unlearn: Command, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearn.models.prepare.load_base", None)  # no model may load
    words, told = REFUSED[case]
    refused = unlearn("data=minitofu", AUTOCAST, "tracker=none", *words)
    assert refused.status == 2, refused.said
    assert told in refused.said
    assert "Traceback" not in refused.said


@pytest.mark.slow
def test_full_and_lora_are_swept_over(unlearn: Command) -> None:
    done = unlearn("-m", *QUICK, "model/adapter=none,lora", "training.steps=2")
    assert done.status == 0, done.said
    trained = ["LoRA: rank" in (log.read_text()) for log in done.folder.glob("*/unlearn.log")]
    assert sorted(trained) == [False, True]
