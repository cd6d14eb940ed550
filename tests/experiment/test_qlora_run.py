"""model/adapter=qlora as a person runs it: from the model in 4 bits to one that needs none."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from support import tiny
from support.command import AUTOCAST, DESCENT, QUICK, SMALL, Command
from support.ranks import between_weights, in_turn
from transformers import AutoModelForCausalLM

from unlearn.models.four_bits import rounded_

pytest.importorskip("peft", reason="needs the extra qlora")
there = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="needs bitsandbytes (the extra qlora)"
)

QLORA = ("model/adapter=qlora", "model.adapter.rank=2")


@there
@pytest.mark.slow
def test_a_run_begins_with_4_bits_and_leaves_a_model_that_needs_none(unlearn: Command) -> None:
    plain = unlearn(*SMALL, "model/adapter=lora")
    words = (*SMALL, *QLORA, "model.adapter.save=true", "attack=[relearning]")
    on_the_way = ("evaluation.every=2", "evaluation.best=retain/loss")
    done = unlearn(*words, *on_the_way, "attack.relearning.rows=2", "attack.relearning.steps=1")
    assert done.status == 0, done.said
    assert "QLoRA: 7 linear layers" in done.log
    assert not [line for line in done.warnings if "LoRA" in line or "bits" in line]
    # The target in 4 bits is another model than the target, whose tables lie in the cache.
    target = Path(done.summary["model"]["target"]["path"])
    assert target == Path(plain.summary["model"]["target"]["path"])
    before = done.summary["metrics"]["before"]["forget/loss"]
    assert before != plain.summary["metrics"]["before"]["forget/loss"]
    base = AutoModelForCausalLM.from_pretrained(target)
    rounded_(base, torch.device("cpu"))
    base.save_pretrained(unlearn.folder / "base")
    for file in target.glob("tokenizer*"):
        (unlearn.folder / "base" / file.name).write_bytes(file.read_bytes())
    measured = unlearn(
        *SMALL, "method=none", f"model.path={unlearn.folder / 'base'}", "target=as_is"
    )
    assert measured.status == 0, measured.said
    assert measured.summary["metrics"]["before"]["forget/loss"] == pytest.approx(before, rel=1e-6)

    after = done.summary["metrics"]["after"]
    taken = f"step_{done.summary['training']['best']['step']}"
    way = next(line for line in done.lines if line.get("stage") == taken)
    assert after["forget/loss"] == pytest.approx(way["forget/loss"], rel=1e-6)
    assert after["attack/relearning_probability"] is not None
    saved = done.folder / "model"
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (saved, target))
    assert {n: w.dtype for n, w in ours.items()} == {n: w.dtype for n, w in theirs.items()}
    assert sum(not torch.equal(ours[name], weight) for name, weight in theirs.items()) == 7
    assert (saved / "adapter" / "adapter_config.json").is_file()
    again = unlearn(*SMALL, "method=none", f"model.path={saved}", "target=as_is")
    assert again.summary["metrics"]["before"]["forget/loss"] == after["forget/loss"]


@there
@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("method=rmu", "method.forget.layer=1", "scheduler=constant", "model.dtype=bfloat16"),
        ("method/forget=npo", "method/retain=kl", "scheduler=gen"),
        ("method=undial",),
        ("method=ngdiff_guarded", "reference=train"),
        ("method=graddiff", "method/interventions=[sam,gru]", "scheduler=constant"),
        ("model.gradient_checkpointing=true", "training.micro_batch_size=2", "method=simnpo"),
    ],
)
def test_methods_work_with_it(unlearn: Command, words: tuple[str, ...]) -> None:
    done = unlearn(*QUICK, *QLORA, *words)
    assert done.status == 0, done.said
    assert any(line["train/direction_norm"] > 0 for line in done.steps)


@there
@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(unlearn: Command, tmp_path: Path) -> None:
    words = (*QUICK, *QLORA, *DESCENT, "method/retain=kl", "training.until=null")
    alone = unlearn(*words)
    assert alone.status == 0, alone.said
    shared = {"ddp": (*words, "training.sharding=ddp")}
    together = tmp_path / "together"
    together.mkdir()
    done, other = in_turn(2, shared, together)["ddp"]
    assert (done.status, other.status) == (0, 0), done.said + other.said
    assert between_weights(alone, done) < 1e-5


def on_a_card(monkeypatch: pytest.MonkeyPatch, gigabytes: float) -> None:
    """Let there be a GPU, so far as it is asked before a model loads."""
    device = torch.device("cuda")
    monkeypatch.setattr(
        "unlearn.experiment.fitting.memory_there", lambda _: (int(gigabytes * 1e9), "a card")
    )
    monkeypatch.setattr("unlearn.experiment.fitting.resolve_device", lambda _: (device, "a card"))


def test_attacks_on_what_has_no_room_out_of_4_bits_are_refused(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """46,000 weights take 0.18 MB in float32, and a quarter of it in 4 bits."""
    monkeypatch.setattr("unlearn.models.four_bits.find_spec", lambda _: object())
    monkeypatch.setattr("unlearn.models.prepare.load_once", None)  # no model may load
    folder = tmp_path / "model"
    tiny.model().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    on_a_card(monkeypatch, 1e-4)
    words = (*QUICK, *QLORA, f"model.path={folder}", "target=as_is", "attack=[relearning]")
    refused = unlearn(*words)
    assert refused.status == 2, refused.said
    assert "attack: relearning: attacks are on the whole model, which out of 4 bits" in refused.said


def test_without_bitsandbytes_it_is_refused_with_the_command(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearn.models.four_bits.find_spec", lambda _: None)
    monkeypatch.setattr("unlearn.models.prepare.load_base", None)  # no model may load
    refused = unlearn("data=minitofu", AUTOCAST, "tracker=none", *QLORA)
    assert refused.status == 2, refused.said
    assert "model.adapter.quantize: nf4 needs bitsandbytes: pip install " in refused.said


def test_sharded_weights_are_refused(unlearn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """As two processes of torchrun would ask; what they share is looked at before they meet."""
    from unlearn.experiment.settings import sharding_of
    from unlearn.options.parts import Problems
    from unlearn.options.schema import AdapterConfig, Quantize, Sharding
    from unlearn.training.recipes import Recipe

    monkeypatch.setattr("unlearn.experiment.settings.started", lambda: 2)
    recipe = Recipe("QLoRA", adapter=AdapterConfig(quantize=Quantize.nf4))
    training = {"sharding": Sharding.fsdp, "park_gradient": False, "offload_activations": False}

    class Options(SimpleNamespace):
        def __getitem__(self, name: str) -> object:
            return getattr(self, name)

    cfg = Options(
        training=Options(**training),
        model=Options(device="cpu"),
        evaluation=Options(gradient_norm=False),
    )
    problems = Problems()
    sharding_of(cfg, None, {}, SimpleNamespace(each=[]), recipe, problems)
    assert len(problems.found) == 1
    assert problems.found[0].startswith("model.adapter.quantize: nf4, whose blocks of 64 weights")
