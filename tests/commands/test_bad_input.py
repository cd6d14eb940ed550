"""What goes wrong is told once, in words that say what to do, and leaves nothing half-written.

Exit status 2: a wrong configuration or wrong data, before any model loads. 1: a run that failed.
3: `accept.strict` and a condition that is not met.
"""

from __future__ import annotations

import gc
import os
import shutil
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import (
    QUICK,
    SMALL,
    Command,
    Done,
    entries_in,
    files_in,
    finish,
    row,
    start,
    write_rows,
)
from support.disk import disk_for
from support.forked import Forked
from support.refusals import files, refused
from torch import Tensor

from unlearn.composition.explain import release
from unlearn.errors import NumericalError
from unlearn.weightings import NGDiff


@pytest.fixture
def unlearn(tmp_path: Path) -> Command:
    """The command, in a folder with files that are bad in many ways."""
    write_rows(tmp_path / "good.jsonl", [row("Who?", "Ada."), row("When?", "In spring.")])
    write_rows(tmp_path / "other.jsonl", [row("Where?", "At sea."), row("Why?", "For tea.")])
    write_rows(tmp_path / "overlap.jsonl", [row("Why?", "For tea."), row("When?", "In spring.")])
    write_rows(tmp_path / "blank.jsonl", [row("Where?", "At sea."), row("Why?", "  ")])
    write_rows(tmp_path / "column.jsonl", [{"asked": "Wo?", "answer": "At sea."}])
    write_rows(tmp_path / "empty.jsonl", [])
    (tmp_path / "broken.jsonl").write_text('{"question": "Who?", "answer": "A\n')
    (tmp_path / "no_model").mkdir()
    (tmp_path / "pickle").mkdir()
    (tmp_path / "pickle" / "config.json").write_text("{}")
    (tmp_path / "pickle" / "pytorch_model.bin").write_bytes(b"never read")
    (tmp_path / "a_file").write_text("not a folder")
    return Command(tmp_path)


NGDIFF = "unlearn.weightings.NGDiff"
REFUSED = {
    # what Hydra itself would refuse: choices, names, types, syntax
    "choice": (["method=ngdif"], ["method=ngdif", "allowed: ", "graddiff, "]),
    "choice of a part": (
        ["method/forget=nope"],
        ["method/forget=nope", "allowed: alternatives, ascent, "],
    ),
    "preset": (["experiment=nope"], ["experiment=nope", "allowed: "]),
    "no choice": (["method=null"], ["must be a string or a list"]),
    "option": (["training.step=5"], ["training.step:", "allowed", " steps, "]),
    "group": (["metod=ngdiff"], ["metod:", "allowed", " method,"]),
    "option added": (["+training.step=5"], ["training.step:", "allowed", " steps, "]),
    "option added to a part": (["+scheduler.speed=5"], ["scheduler.speed:", "interval, "]),
    "type of the seed": (["seed=abc"], ["seed=abc", "Integer"]),
    "type of a number": (["training.steps=abc"], ["training.steps=abc", "Integer"]),
    "type in data": (["data.forget_rows=abc"], ["data.forget_rows: ", "'abc'", "Integer"]),
    "type in a part": (["scheduler.interval=2.5"], ["scheduler.interval: ", "2.5", "Integer"]),
    "word of a list": (["model.autocast=fp8"], ["model.autocast=fp8", "[auto, bfloat16, none]"]),
    "deleted group": (["~scheduler"], ["scheduler: not set"]),
    "syntax": (["training"], ["'training'", "EQUAL"]),
    # ranges
    "steps": (["training.steps=-1"], ["training.steps: -1", "above 0"]),
    "endless": (
        ["training.steps=null", "training.epochs=inf"],
        ["training.epochs: inf", "above 0"],
    ),
    "batch": (["training.batch_size=0"], ["training.batch_size: 0", "above 0"]),
    "micro-batch": (["training.micro_batch_size=0"], ["training.micro_batch_size: 0"]),
    "clip": (["training.clip=-1"], ["training.clip: -1.0", "above 0"]),
    "seed": (["seed=-1"], ["seed: -1", "allowed: 0 up to"]),
    "share": (
        ["method=linear", "method.weighting.retain_share=1.5"],
        ["method.weighting.retain_share: 1.5", "0 to 1"],
    ),
    "rate 0": (["optimizer.lr=0"], ["optimizer.lr: 0", "a number above 0"]),
    "no rate": (["optimizer.lr=null"], ["optimizer.lr: not set", "a number above 0"]),
    "rate deleted": (["~optimizer.lr"], ["optimizer.lr: not set", "a number above 0"]),
    "betas": (["optimizer.betas=[2,3]"], ["optimizer: Invalid beta", "index 0: 2"]),
    "smoothing": (
        ["scheduler=gen_authors", "scheduler.smooth=1.5"],
        ["scheduler.smooth: 1.5", "not including, 1"],
    ),
    "decay": (["scheduler.decay=median"], ["scheduler.decay: ", "'median'", "cosine"]),
    "warm-up": (
        ["scheduler=cosine", "scheduler.warmup=2"],
        ["scheduler.warmup: 2.0", "not including, 1"],
    ),
    "intervention": (
        ["method/interventions=[nope]"],
        ["method/interventions=[nope]", "any of gru, sago, saliency_mask, sam,"],
    ),
    "option of an intervention not chosen": (
        ["method.interventions.sam.rho=1"],
        ["method.interventions.sam: nothing is chosen", "choose with method/interventions=[sam]"],
    ),
    "option of an intervention": (
        ["method/interventions=[sam]", "method.interventions.sam.rho=0"],
        ["method.interventions.sam.rho: 0.0", "above 0"],
    ),
    "word of an intervention": (
        ["method/interventions=[saliency_mask]", "method.interventions.saliency_mask.unit=row"],
        ["method.interventions.saliency_mask.unit: ", "'row'", "[neuron, weight]"],
    ),
    "no intervention": (
        [f"+method.interventions.x._target_={NGDIFF}"],
        ["method.interventions.x._target_: ", "makes a NGDiff", "interventions.base.Intervention"],
    ),
    "interventions without a method": (
        ["method=none", "method/interventions=[sam]"],
        ["method.interventions: sam, but method=none takes no step"],
    ),
    "intervention without its tasks": (
        ["method/retain=none", "method/interventions=[sago]"],
        ["method.interventions.sago: chooses between the gradients of both tasks"],
    ),
    "interventions without a forget task": (
        [
            "method.forget._target_=unlearn.objectives.NoObjective",
            "method/interventions=[sam,saliency_mask]",
        ],
        [
            "method.interventions.sam: takes the forget gradient elsewhere",
            "method.interventions.saliency_mask: needs the gradient of the forget loss",
        ],
    ),
    "evaluations": (["evaluation.every=-1"], ["evaluation.every: -1", "0 (none)"]),
    "answer length": (["evaluation.max_new_tokens=0"], ["evaluation.max_new_tokens: 0"]),
    "share of tokens": (["evaluation.min_k=40"], ["evaluation.min_k: 40.0", "above 0 up to 1"]),
    "heads": (["model.tiny.heads=3"], ["model.tiny.heads: 3", "model.tiny.hidden_size=32"]),
    "recipe": (["model.fine_tuning.lr=-1"], ["model.fine_tuning.lr: -1", "above 0"]),
    "two at once": (
        ["training.steps=-1", "optimizer.lr=0", "scheduler.interval=0"],
        ["training.steps: -1", "optimizer.lr: 0", "scheduler.interval: 0"],
    ),
    "several in one group and below it": (
        ["model.max_length=1", "model.tiny.layers=0", "model.tiny.seed=-1", "+model.tinny=1"],
        ["model.max_length: 1", "model.tiny.layers: 0", "model.tiny.seed: -1", "model.tinny: no"],
    ),
    # parts by _target_
    "unknown class": (
        ["method.weighting._target_=unlearn.weightings.Nope"],
        ["method.weighting._target_: ", "'unlearn.weightings.Nope'", "full name"],
    ),
    "unknown module": (["optimizer._target_=nope.Adam"], ["optimizer._target_: ", "'nope.Adam'"]),
    "class of another kind": (
        [f"method.forget._target_={NGDIFF}"],
        ["method.forget._target_: ", NGDIFF, "Objective"],
    ),
    "no reader": (["data._target_=builtins.dict"], ["data._target_: 'builtins.dict'", "read()"]),
    "part taken away": (["method.forget=null"], ["method.forget._target_: not set"]),
    # models and devices
    "folder of a model": (["model.path=./nowhere"], ["model.path: './nowhere'", "does not exist"]),
    "weights in a pickle": (["model.path=./pickle"], ["model.path: ", "never loaded"]),
    "folder without a model": (["model.path=./no_model"], ["model.path: ", "no config.json"]),
    "day of a chat template": (["model.chat_date=today"], ["chat_date: today; allowed: a day"]),
    "folder of a tokenizer": (["model.tokenizer=./nowhere"], ["model.tokenizer: './nowhere'"]),
    "reference": (["reference=./nowhere"], ["reference: './nowhere'", "auto, train, none"]),
    "bfloat16 weights": (["model.dtype=bfloat16"], ["model.dtype: bfloat16", "adamw_8bit"]),
    "device": (["model.device=gpu"], ["model.device: 'gpu'", "allowed: auto, cpu, cuda"]),
    "no GPU": (["model.device=cuda"], ["model.device: 'cuda'", "allowed: auto, cpu, cuda"]),
    # data
    "no files": (["data=files"], ["data.forget is not set", "data.retain is not set"]),
    "missing file": (files("nowhere.jsonl"), ["data.retain=nowhere.jsonl: no such file"]),
    "unknown suffix": (files("a_file"), ["data.retain=a_file", ".jsonl"]),
    "empty set": (files("empty.jsonl"), ["data.retain=empty.jsonl", "no rows"]),
    "broken line": (files("broken.jsonl"), ["broken.jsonl:1: not JSON"]),
    "overlap": (
        files("overlap.jsonl"),
        ["both the forget and the retain", "'When?'", "'In spring.'"],
    ),
    "column": (files("column.jsonl"), ["no column 'question'", "'asked'", "data.question="]),
    "blank answer": (files("blank.jsonl"), ["blank.jsonl:2", "'answer' is blank", "'Why?'"]),
    "too few rows": (["data.forget_rows=41"], ["data.forget_rows=41", "at most 40"]),
    "no rows": (["data.forget_rows=0"], ["data.forget_rows=0", "at least 1"]),
    "subset": (["data.subset=forget01"], ["data.subset=forget01", "forget05 and forget10"]),
    "no TOFU": (
        ["data=tofu_forget05", "data.path=./nowhere"],
        ["data.path=./nowhere", "no such folder", "hf download"],
    ),
    "not TOFU": (
        ["data=tofu_forget05", "data.path=no_model"],
        ["data.path=no_model lacks", "forget05.json,", "hf download"],
    ),
    # acceptance
    "conditions": (["accept.conditions=good"], ["accept.conditions=good", "list"]),
    "condition": (["accept.conditions=[good]"], ["accept.conditions[0]: 'good'", "{metric: NAME"]),
    "bound": (
        ["accept.conditions=[{metric: forget/loss, at_last: 1}]"],
        ["accept.conditions[0]: unknown key at_last", "exactly one of at_least, at_most, within"],
    ),
    "bound without a number": (
        ["accept.conditions=[{metric: forget/loss, at_least: much}]"],
        ["accept.conditions[0].at_least: 'much'"],
    ),
    "relative to no reference": (
        ["reference=none", "accept.conditions=[{metric: forget/loss, at_least: 1, of: reference}]"],
        ["accept.conditions[0].of: reference", "reference=train"],
    ),
    "argument for a variable": (
        ["model.chat_options={tokenize: true}"],
        ["model.chat_options: tokenize is an argument of apply_chat_template"],
    ),
    # folders
    "folder of the run": (["hydra.run.dir=a_file/run"], ["hydra.run.dir", "a_file/run"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_model(
    case: str, unlearn: Command, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "no GPU" and torch.cuda.is_available():
        pytest.skip("a GPU is here")
    overrides, fragments = REFUSED[case]

    def no_model(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was made")

    monkeypatch.setattr("transformers.PreTrainedModel.__init__", no_model)
    before = entries_in(empty_cache)
    data = next((word for word in overrides if word.startswith("data=")), None)
    small = [word for word in SMALL if not (data and word.startswith("data"))]
    refused(unlearn(*small, *overrides), empty_cache, before, *fragments)


def test_a_word_that_is_no_flag(unlearn: Command) -> None:
    done = unlearn("--verbos")
    assert done.status == 2
    assert "--verbos" in done.err
    assert "Traceback" not in done.said


def test_a_process_of_its_own_tells_the_same(unlearn: Command, tmp_path: Path) -> None:
    words = ("training.steps=-1", "hydra.run.dir=run")
    done = Forked(*words, cwd=tmp_path, said=tmp_path / "said").finish(tmp_path / "run")
    assert done.status == 2
    assert done.err.count("training.steps: -1; allowed: above 0") == 1
    assert done.out == ""
    assert "Traceback" not in done.err
    done = finish(start("method=ngdif", "hydra.run.dir=two", cwd=tmp_path), tmp_path / "two")
    assert done.status == 2
    assert done.err.startswith("unlearn: method=ngdif: no such choice; allowed: ")
    assert done.out == ""
    assert not done.folder.exists()


@pytest.mark.slow
def test_a_folder_that_holds_a_run_is_left_as_it_is(unlearn: Command) -> None:
    first = unlearn(*QUICK)
    assert first.status == 0, first.said
    before = files_in(first.folder)
    second = unlearn(*QUICK, "seed=1", run=first.folder)
    assert second.status == 2
    assert second.said.count("already holds a run") == 1
    assert "hydra.run.dir" in second.said
    assert "Traceback" not in second.said
    assert files_in(first.folder) == before


@pytest.mark.slow
def test_a_model_that_the_hub_does_not_give(unlearn: Command) -> None:
    done = unlearn(*QUICK, "model.path=nobody/nothing")
    assert done.status == 2
    assert done.said.count("model.path: 'nobody/nothing' cannot be loaded") == 1
    assert "Traceback" not in done.said
    assert done.summary["status"] == "failed"


@pytest.mark.slow
def test_a_reference_that_the_hub_does_not_give(unlearn: Command) -> None:
    done = unlearn(*SMALL, "reference=nobody/nothing")
    assert done.status == 2
    assert done.said.count("reference: 'nobody/nothing' cannot be loaded") == 1
    assert "model.path" not in done.said


# Runs that fail on the way.


@dataclass
class FailsAtStep(NGDiff):
    """A user's own weighting; at its call number `at` it returns NaN, or raises."""

    at: int = 3
    how: str = "nan"

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls < self.at:
            return super().__call__(gramian, losses)
        if self.how == "interrupt":
            raise KeyboardInterrupt
        if self.how == "disk":
            raise OSError(28, "No space left on device", "somewhere")
        if self.how == "bug":
            raise RuntimeError("a mistake in somebody's code")
        return float("nan"), 1.0


def fails(how: str) -> list[str]:
    return [
        "method.weighting._target_=test_bad_input.FailsAtStep",
        f"+method.weighting.how={how}",
        "training.checkpoint_every=1",
    ]


def left_failed(done: Done, status: str = "failed") -> None:
    """Assert the record of a run that ended early: what is known, and no unlearned model."""
    assert done.summary["status"] == status
    assert done.summary["verdict"]["accepted"] is None
    assert done.summary["metrics"]["before"]
    assert done.summary["metrics"]["after"] is None
    assert not (done.folder / "model").exists()


@pytest.mark.slow
def test_a_loss_that_is_not_finite(unlearn: Command) -> None:
    done = unlearn(*QUICK, "method=ga", "scheduler=constant", "optimizer.lr=1e9")
    assert done.status == 1
    assert done.said.count("a number is not finite") == 1
    for told in ("step 2", "Ascent × NegativeLogLikelihood × Linear", "norm", "No state was kept"):
        assert told in done.said
    assert "Traceback" not in done.said
    left_failed(done)
    assert "not finite" in done.summary["error"]
    assert done.summary["cost"]["steps"] == len(done.steps) == 1


@pytest.mark.slow
def test_the_last_good_state_is_kept_and_named(unlearn: Command) -> None:
    from transformers import AutoModelForCausalLM

    done = unlearn(*QUICK, *fails("nan"))
    assert done.status == 1
    kept = done.folder / "checkpoints" / "step_1"  # what step 3 began with was not proved good
    assert f"The last good state lies in {kept}" in done.said
    assert {path.name for path in kept.parent.iterdir()} == {"step_1", "run.json"}
    model = AutoModelForCausalLM.from_pretrained(kept)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    left_failed(done)


def test_a_stop_by_the_keyboard(unlearn: Command) -> None:
    done = unlearn(*QUICK, *fails("interrupt"))
    assert done.status == 130
    assert "Traceback" not in done.said
    assert done.said.count("stopped") == 1
    left_failed(done, "stopped")
    assert done.summary["cost"]["steps"] == 2


@pytest.mark.slow
def test_a_bug_shows_where_it_is(unlearn: Command) -> None:
    done = unlearn(*QUICK, *fails("bug"))
    assert done.status == 1
    assert "Traceback" in done.log
    assert done.said.count("RuntimeError: a mistake in somebody's code") == 1
    left_failed(done)


@pytest.mark.slow
def test_an_error_of_the_system_in_one_line(unlearn: Command) -> None:
    done = unlearn(*QUICK, *fails("disk"))
    assert done.status == 1
    assert done.said.count("No space left on device: 'somewhere'") == 1
    assert "Traceback" not in done.said
    left_failed(done)


@pytest.mark.slow
def test_a_full_disk_while_the_unlearned_model_is_saved(unlearn: Command, own_cache: Path) -> None:
    words = (*QUICK, "training.checkpoint_every=0", "training.checkpoint_minutes=null")
    assert unlearn(*words).status == 0
    before = entries_in(own_cache)
    with disk_for(50_000):
        done = unlearn(*words)
    assert done.status == 1, done.said
    assert done.said.count("model could not be written") == done.said.count("File too large") == 1
    assert "Traceback" not in done.said
    assert done.summary["status"] == "failed"
    assert not (done.folder / "model").exists()
    assert entries_in(own_cache) == before


def test_a_full_disk_while_the_target_is_kept(unlearn: Command, own_cache: Path) -> None:
    before = entries_in(own_cache)
    with disk_for(50_000):
        done = unlearn(*QUICK, "model.fine_tuning.seed=9", "model.fine_tuning.epochs=1")
    assert done.status == 1, done.said
    assert done.said.count("File too large") == 1
    assert done.summary["status"] == "failed"
    assert entries_in(own_cache) == before
    assert not any((own_cache / "prepared").glob("*unfinished*"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["truncated", "without its record"])
def test_a_broken_entry_of_the_cache_is_made_anew(
    how: str, unlearn: Command, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = unlearn(*QUICK)
    assert first.status == 0, first.said
    cache = tmp_path / "cache"
    shutil.copytree(own_cache, cache)
    monkeypatch.setenv("UNLEARN_CACHE", str(cache))
    target = cache / Path(first.summary["model"]["target"]["path"]).relative_to(own_cache)
    whole = files_in(target)
    if how == "truncated":
        os.truncate(target / "model.safetensors", 1000)
    else:
        (target / "preparation.json").unlink()
    second = unlearn(*QUICK)
    assert second.status == 0, second.said
    told = f"WARNING target: the cached one, {target}, is broken (its "
    assert second.said.count(told) == 1
    assert files_in(target).keys() == whole.keys()
    assert files_in(target)["model.safetensors"] == whole["model.safetensors"]
    assert second.weights == first.weights


@pytest.mark.slow
def test_a_broken_table_of_the_cache_is_made_anew(
    unlearn: Command, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = unlearn(*QUICK)
    cache = tmp_path / "cache"
    shutil.copytree(own_cache, cache)
    monkeypatch.setenv("UNLEARN_CACHE", str(cache))
    for table in (cache / "evaluations").rglob("scores.parquet"):
        os.truncate(table, 100)
    second = unlearn(*QUICK)
    assert second.status == 0, second.said
    assert len(second.warnings) == 1
    assert second.summary["metrics"] == first.summary["metrics"]


# Acceptance.


@pytest.mark.slow
def test_a_condition_that_is_not_met_under_strict(unlearn: Command) -> None:
    condition = "accept.conditions=[{metric: forget/loss, at_least: 1000}]"
    done = unlearn(*QUICK, condition, "accept.strict=true")
    assert done.status == 3
    assert done.said.count("the verdict is no") == 1
    assert "Traceback" not in done.said
    assert done.summary["status"] == "completed"
    assert done.summary["verdict"]["accepted"] is False
    (judged,) = done.summary["verdict"]["conditions"]
    assert judged["bound"] == 1000
    assert judged["value"] == done.summary["metrics"]["after"]["forget/loss"]
    assert judged["met"] is False
    assert (done.folder / "model" / "config.json").exists()
    assert (done.folder / "report.md").exists()
    assert unlearn(*QUICK, condition).status == 0, "without strict the verdict is only told"


@pytest.mark.slow
def test_a_condition_that_is_met_under_strict(unlearn: Command) -> None:
    condition = "accept.conditions=[{metric: retain/loss, at_most: 2, of: before}]"
    done = unlearn(*QUICK, condition, "accept.strict=true", "scheduler=constant")
    assert done.status == 0, done.said
    assert done.summary["verdict"]["accepted"] is True
    (judged,) = done.summary["verdict"]["conditions"]
    assert judged["bound"] == 2 * done.summary["metrics"]["before"]["retain/loss"]


def test_a_failed_job_lets_go_of_its_model() -> None:
    """Hydra keeps the failures of a sweep; their frames must not keep what they worked on."""
    kept: list[weakref.ref[Any]] = []

    class Model:
        pass

    def train(model: Model) -> None:
        kept.append(weakref.ref(model))
        raise ValueError("the step")

    def run() -> None:
        model = Model()
        try:
            train(model)
        except ValueError as error:
            raise NumericalError("the run") from error

    with pytest.raises(NumericalError) as caught:
        run()
    assert kept[0]() is not None
    release(caught.value)
    gc.collect()
    assert kept[0]() is None
