"""A run that is cut goes on where it was, and ends as if nothing had happened, bit for bit."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import QUICK, Command, files_in
from support.killing import results
from torch import Tensor

from benchmarks.methods import write_alternatives
from unlearn.compute.undisturbed import random_state, restore_random
from unlearn.data.minitofu import MiniTofu
from unlearn.record.checkpoints import newest_of
from unlearn.record.layout import BEGUN
from unlearn.storage.sealed import seal
from unlearn.storage.sharded import read_state
from unlearn.weightings import NGDiff

LONGER = ("training.steps=9", "training.checkpoint_every=2", "evaluation.every=3")


class TensorRate(torch.optim.AdamW):
    """An optimizer whose rate is a tensor that it holds on to, as a compiled step would."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=torch.tensor(lr), foreach=False)
        self.kept = [group["lr"] for group in self.param_groups]

    def load_state_dict(self, state_dict: Any) -> None:
        super().load_state_dict(state_dict)
        self.kept = [group["lr"] for group in self.param_groups]

    def step(self, closure: Any = None) -> Any:
        assert all(
            group["lr"] is rate for group, rate in zip(self.param_groups, self.kept, strict=True)
        )
        return super().step(closure)


class Cut(NGDiff):
    """A user's weighting that is stopped like a person stops a run, at one step of one process."""

    armed_at: int | None = None
    calls = 0

    def __call__(self, gramian: Tensor, losses: Tensor) -> tuple[float, float]:
        Cut.calls += 1
        if Cut.calls == Cut.armed_at:
            raise KeyboardInterrupt
        return super().__call__(gramian, losses)


@pytest.fixture
def cut_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Set the step at which the next process is cut; None lets it go to its end."""

    def set_step(step: int | None) -> None:
        monkeypatch.setattr(Cut, "armed_at", step)
        monkeypatch.setattr(Cut, "calls", 0)

    return set_step


CHOICES = {
    "gen": [],
    "sgd, the authors' rules, npo and kl": [
        "optimizer=sgd",
        "scheduler=gen_authors",
        "scheduler.interval=2",
        "method/forget=npo",
        "method/retain=kl",
    ],
    "cosine with warm-up, random weights": [
        "scheduler=cosine",
        "scheduler.warmup=0.3",
        "optimizer.lr=1e-3",
        "method=rlw",
    ],
    "nadam, a dual variable": ["optimizer._target_=torch.optim.NAdam", "method=primal_dual"],
    "radam, betas of one's own, a frozen hidden layer": [
        "optimizer._target_=torch.optim.RAdam",
        "optimizer.betas=[0.8,0.99]",
        "scheduler=constant",
        "method=rmu",
        "method.forget.layer=1",
    ],
    "a level and a stop rule": [
        "method=ngdiff_bounded",
        "method.forget.level=3.0",
        "training.until=20",
        "training.until_every=2",
        "training.until_retain_slack=0.1",
    ],
    "a rate that is a tensor": [
        "optimizer._target_=test_resume.TensorRate",
        "~optimizer.betas",
        "~optimizer.eps",
        "~optimizer.weight_decay",
    ],
    "torchao's 8 bits of bfloat16 weights": [
        "optimizer=adamw_8bit",
        "model.dtype=bfloat16",
        "scheduler=cosine",
        "optimizer.lr=1e-3",
        "model.tiny.intermediate_size=128",
    ],
    "sam, the best state": [
        "method/interventions=[sam]",
        "evaluation.best=retain/rougeL_recall",
        "evaluation.patience=5",
    ],
    "signum, gru, micro-batches": [
        "method=graddiff",
        "optimizer=signum",
        "method/interventions=[gru]",
        "training.micro_batch_size=2",
    ],
    "a mask drawn anew, a forget-side dual": [
        "method=forget_dual",
        "optimizer=signum",
        "scheduler=constant",
        "method/interventions=[saliency_mask]",
        "method.interventions.saliency_mask.redraw=true",
    ],
    "jensun": ["method=jensun"],
    "undo": ["method=undo", "scheduler=constant", "optimizer.lr=1e-3"],
    "a task_vector": ["method=ga", "method/interventions=[task_vector]"],
    "flat": ["method=flat", "scheduler=constant", "optimizer.lr=1e-3"],
    "idk_ap, blur": ["method=idk_ap", "method/weighting=blur"],
    "alternatives": ["method=alternatives", "method.forget.alternatives=alternatives.jsonl"],
    "maximum entropy, hamu_q": ["method=max_entropy", "method/weighting=hamu_q"],
    "whp, the weighting gru": [
        "method=ngdiff",
        "method/forget=whp",
        "method.forget.steps=3",
        "method/weighting=gru",
    ],
    "a mask by neuron": ["method/interventions=[saliency_mask]", "optimizer.weight_decay=0.1"],
    "a mask by weight, and sago": [
        "method=graddiff",
        "method/interventions=[saliency_mask,sago]",
        "method.interventions.saliency_mask.unit=weight",
        "scheduler=constant",
    ],
    "lora, rmu and the best state": [
        "model/adapter=lora",
        "method=rmu",
        "method.forget.layer=1",
        "evaluation.best=retain/loss",
    ],
    "qlora, npo and kl": ["model/adapter=qlora", "method/forget=npo", "method/retain=kl"],
}
"""Every kind of state that a run has to keep, several in one run where they are apart."""


@pytest.mark.parametrize(
    "choice",
    [pytest.param(name, marks=() if name == "gen" else pytest.mark.slow) for name in CHOICES],
)
def test_a_cut_run_ends_with_the_same_bits(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, choice: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "torchao" in choice:
        pytest.importorskip("torchao")
    if "qlora" in choice:
        pytest.importorskip("bitsandbytes", reason="needs the extra qlora")
    words = (*QUICK, *LONGER, *CHOICES[choice])
    if choice == "alternatives":
        write_alternatives(MiniTofu(subset="forget10").read(), Path("alternatives.jsonl"))
    whole = unlearn(*words)
    assert whole.status == 0, whole.said

    from unlearn.training.trainer import Trainer

    step = Trainer.step

    def stopped(self: Trainer) -> dict[str, Any]:
        if self.done == 5:
            raise KeyboardInterrupt
        return step(self)

    folder = unlearn.folder / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stopped)
        cut = unlearn(*words, run=folder)
    assert cut.status == 130
    assert cut.summary["status"] == "stopped"
    newest = newest_of(folder)
    assert newest is not None and newest.name == "step_4"
    again = unlearn(*words, run=folder)
    assert again.status == 0, again.said
    assert again.log.count("goes on from") == 1
    assert results(again) == results(whole)
    assert len(again.steps) == whole.summary["cost"]["steps"]


@pytest.mark.slow
def test_a_run_that_was_cut_before_its_first_checkpoint_begins_again(
    unlearn: Command, cut_at: Callable[[int | None], None]
) -> None:
    words = (*QUICK, "method.weighting._target_=test_resume.Cut")
    cut_at(None)
    whole = unlearn(*words)
    cut_at(2)
    folder = unlearn.folder / "cut"
    assert unlearn(*words, run=folder).status == 130
    assert newest_of(folder) is None and (folder / BEGUN).exists()
    cut_at(None)
    again = unlearn(*words, run=folder)
    assert results(again) == results(whole)


@pytest.mark.slow
def test_a_run_cut_in_its_last_evaluation_takes_no_step_again(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unlearn.evaluation.suites import Suite

    whole = unlearn(*QUICK)
    evaluate = Suite.evaluate

    def stopped(self: Suite, model: Any, stage: str, reference: Any) -> Any:
        if stage == "after":
            raise KeyboardInterrupt
        return evaluate(self, model, stage, reference)

    folder = unlearn.folder / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(Suite, "evaluate", stopped)
        assert unlearn(*QUICK, run=folder).status == 130
    monkeypatch.setattr("unlearn.training.trainer.Trainer.step", None)  # a step would fail
    again = unlearn(*QUICK, run=folder)
    assert again.status == 0, again.said
    assert results(again) == results(whole)


@pytest.mark.slow
def test_a_target_that_was_cut_while_it_learnt_goes_on_after_its_last_pass(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from unlearn.models import fine_tune

    words = (*QUICK, "model.fine_tuning.epochs=4", "training.steps=1")
    whole = unlearn(*words)
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fine_tune, "KEEP_MINUTES", 0.0)
    learn, steps = fine_tune.learn_batch, []

    def stopped(*arguments: Any) -> tuple[int, int]:
        steps.append(1)
        if len(steps) == 20:
            raise KeyboardInterrupt
        return learn(*arguments)

    folder = unlearn.folder / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(fine_tune, "learn_batch", stopped)
        assert unlearn(*words, run=folder).status == 130
    assert len(list((tmp_path / "cache" / "prepared").glob("*.learning"))) == 1
    again = unlearn(*words, run=folder)
    assert again.log.count("of an earlier attempt") == 1
    assert (
        again.summary["provenance"]["target_sha256"] == whole.summary["provenance"]["target_sha256"]
    )
    assert again.weights == whole.weights
    assert not list((tmp_path / "cache" / "prepared").glob("*.learning"))


@pytest.mark.slow
def test_a_complete_run_is_left_as_it_is(unlearn: Command) -> None:
    first = unlearn(*QUICK)
    before = {k: v for k, v in files_in(first.folder).items() if k != "unlearn.log"}
    again = unlearn(*QUICK, run=first.folder)
    assert again.status == 0
    assert again.log.count("complete already") == 1
    assert "model utility" in again.out, "its table is shown again"
    assert {k: v for k, v in files_in(first.folder).items() if k != "unlearn.log"} == before


@pytest.mark.slow
def test_a_refused_verdict_is_refused_again(unlearn: Command) -> None:
    words = (
        *QUICK,
        "accept.conditions=[{metric: forget/probability, at_most: -1}]",
        "accept.strict=true",
    )
    first = unlearn(*words)
    assert first.status == 3
    assert unlearn(*words, run=first.folder).status == 3


@pytest.mark.slow
def test_a_failed_run_goes_on_once_its_cause_is_gone(
    unlearn: Command, cut_at: Callable[[int | None], None]
) -> None:
    folder = unlearn.folder / "one"
    wrong = unlearn(*QUICK, "training.batch_size=-1", run=folder)
    assert wrong.status == 2
    right = unlearn(*QUICK, run=folder)  # nothing had begun, so other options may be given
    assert right.status == 0, right.said
    assert right.summary["status"] == "completed"
    assert "training.steps=4" in (folder / ".hydra" / "overrides.yaml").read_text()


@pytest.fixture
def begun(unlearn: Command, cut_at: Callable[[int | None], None]) -> Path:
    """The folder of a run that was cut at its third step."""
    folder = unlearn.folder / "begun"
    cut_at(3)
    words = (*QUICK, "training.checkpoint_every=1", "method.weighting._target_=test_resume.Cut")
    assert unlearn(*words, run=folder).status == 130
    cut_at(None)
    return folder


SAME = ("training.checkpoint_every=1", "method.weighting._target_=test_resume.Cut")


@pytest.mark.slow
def test_other_options_are_refused_and_named(unlearn: Command, begun: Path) -> None:
    before = files_in(begun)
    other = unlearn(*QUICK, *SAME, "seed=1", "training.batch_size=2", run=begun)
    assert other.status == 2
    for told in ("already holds a run", "seed: 0 there, 1 now", "batch_size: 4 there, 2 now"):
        assert told in other.said
    assert files_in(begun) == before


@pytest.mark.slow
def test_options_that_change_no_number_may_differ(unlearn: Command, begun: Path) -> None:
    again = unlearn(*QUICK, *SAME[1:], "training.checkpoint_every=3", run=begun)
    assert again.status == 0, again.said


@pytest.mark.slow
def test_other_data_are_refused(unlearn: Command, begun: Path) -> None:
    record = json.loads((begun / BEGUN).read_text())
    (begun / BEGUN).write_text(json.dumps({**record, "data_sha256": "0" * 64}))
    again = unlearn(*QUICK, *SAME, run=begun)
    assert again.status == 2
    assert "began with other rows" in again.said


@pytest.mark.slow
def test_another_target_is_refused(unlearn: Command, begun: Path) -> None:
    checkpoint = newest_of(begun)
    assert checkpoint is not None
    state = read_state(checkpoint)
    torch.save({**state, "target_sha256": "0" * 64}, checkpoint / "state.pt")
    seal(checkpoint, checkpoint.name)
    again = unlearn(*QUICK, *SAME, run=begun)
    assert again.status == 2
    assert "another target" in again.said


def test_lines_without_a_state_are_not_overwritten(unlearn: Command, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"step": 0, "stage": "before"}\n')
    done = unlearn(*QUICK, run=folder)
    assert done.status == 2
    assert "left no state" in done.said
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1


def test_the_random_generators_go_on() -> None:
    import numpy as np

    state = random_state()
    drawn = torch.rand(3), np.random.rand(3), [random.random() for _ in range(3)]
    restore_random(state)
    again = torch.rand(3), np.random.rand(3), [random.random() for _ in range(3)]
    assert torch.equal(drawn[0], again[0])
    assert (drawn[1] == again[1]).all()
    assert drawn[2] == again[2]
