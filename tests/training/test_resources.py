"""What a run offers to objectives: constants that are scored once, and one frozen copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.resources import nll_sums, row_nlls

from unlearn.compute.device import Compute
from unlearn.data.batches import SeededOrder
from unlearn.data.splits import Row, Splits
from unlearn.data.tokens import Encoder
from unlearn.errors import ConfigurationError
from unlearn.evaluation.sums import sums_once
from unlearn.storage.sealed import seal
from unlearn.training.resources import RunResources

FORGET, RETAIN, HOLDOUT = tiny.ROWS[:3], tiny.ROWS[3:6], tiny.ROWS[6:]


class Loads:
    """Gives a model, and counts how often it was asked to."""

    def __init__(self, seed: int = 0) -> None:
        self.count, self.seed = 0, seed

    def __call__(self) -> Any:
        self.count += 1
        return tiny.model(seed=self.seed)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path))
    return tmp_path


def scored(load: Loads, weights: str | None = "w", compute: Compute = tiny.COMPUTE) -> torch.Tensor:
    return sums_once(load, weights, tiny.examples(), compute, "scoring")


def run(
    model: Any, load_reference: Loads | None = None, holdout: list[Row] | None = None
) -> RunResources:
    evaluated = {"forget": FORGET, "retain": RETAIN}
    if holdout:
        evaluated["holdout"] = holdout
    splits = Splits("test", FORGET, RETAIN, evaluated)
    return RunResources(
        model,
        splits,
        Encoder(tiny.tokenizer()),
        tiny.COMPUTE,
        target_sha256=None,
        load_reference=load_reference,
    )


# Sums


def test_the_sums_are_those_of_a_plain_forward_pass(cache: Path) -> None:
    sums = scored(Loads())
    torch.testing.assert_close(sums, nll_sums(tiny.model(), tiny.examples()), rtol=1e-5, atol=1e-5)
    assert sums.dtype == torch.float32


def test_sums_are_scored_once_and_kept(cache: Path) -> None:
    first, again = Loads(), Loads()
    assert torch.equal(scored(first), scored(again))
    assert (first.count, again.count) == (1, 0)


@pytest.mark.parametrize(
    "change", [{"weights": "others"}, {"compute": tiny.compute(bfloat16=True)}]
)
def test_other_weights_or_another_precision_have_sums_of_their_own(
    cache: Path, change: dict[str, Any]
) -> None:
    scored(Loads())
    other = Loads(seed=1)
    scored(other, **change)
    assert other.count == 1


def test_a_model_without_a_hash_is_never_kept(cache: Path) -> None:
    loads = Loads()
    scored(loads, weights=None)
    scored(loads, weights=None)
    assert loads.count == 2
    assert not (cache / "sums").exists()


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("text", ["", "{", "[1.0]", "[null, 1]", '"sums"'])
def test_broken_sums_are_made_anew(
    cache: Path, text: str, sealed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    kept = scored(Loads())
    (entry,) = (path for path in (cache / "sums").iterdir() if path.is_dir())
    (entry / "nll.json").write_text(text, encoding="utf-8")
    if sealed:
        seal(entry, entry.name)
    loads = Loads()
    assert torch.equal(scored(loads), kept)
    assert loads.count == 1
    assert "broken" in caplog.text
    assert torch.equal(scored(loads), kept)
    assert loads.count == 1


# Levels


def test_the_level_of_the_reference_is_each_rows_own() -> None:
    load = Loads(seed=5)
    level = run(tiny.model(), load).level("reference")
    examples = [tiny.examples()[n] for n in range(3)]
    tokens = torch.tensor([len(example.answer) for example in examples])
    torch.testing.assert_close(level, nll_sums(tiny.model(seed=5), examples) / tokens)


def test_the_level_of_holdout_rows_is_their_mean_under_the_target() -> None:
    level = run(tiny.model(), holdout=HOLDOUT).level("holdout")
    examples = tiny.examples()[6:]
    tokens = torch.tensor([len(example.answer) for example in examples])
    mean = (nll_sums(tiny.model(), examples) / tokens).mean()
    torch.testing.assert_close(level, mean.expand(3))


def test_without_a_reference_its_level_is_refused_with_the_ways_out() -> None:
    with pytest.raises(
        ConfigurationError, match=r"no retain-only model; give reference=train.*holdout"
    ):
        run(tiny.model()).level("reference")


def test_the_forget_loss_follows_the_model() -> None:
    resources = run(tiny.model())
    before = resources.forget_loss()
    resources.model.load_state_dict(tiny.model(seed=3).state_dict())
    after = resources.forget_loss()
    assert before != after
    assert after == pytest.approx(run(tiny.model(seed=3)).forget_loss())


# The frozen target


def test_both_tasks_share_one_frozen_copy_that_training_does_not_change() -> None:
    resources = run(tiny.model())
    forget, retain = resources.of_task(FORGET), resources.of_task(RETAIN)
    frozen = forget.frozen_target()
    assert retain.frozen_target() is frozen is not resources.model
    assert not any(p.requires_grad for p in frozen.parameters())
    with torch.no_grad():
        for parameter in resources.model.parameters():
            parameter.zero_()
    for parameter, original in zip(frozen.parameters(), tiny.model().parameters(), strict=True):
        assert torch.equal(parameter, original)


def test_a_task_encodes_its_questions_with_other_answers() -> None:
    task = run(tiny.model()).of_task(FORGET)
    other = task.encode(["One.", "Two.", "Three."])
    assert [e.prompt for e in other] == [e.prompt for e in task.examples]
    assert [e.answer for e in other] != [e.answer for e in task.examples]


def test_the_reinforced_copy_has_learnt_the_rows_further() -> None:
    """By the recipe of target and reference, written out; the target stays as it is."""
    model = tiny.model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    task = run(model).of_task(FORGET)
    drawn = torch.get_rng_state()
    reinforced = task.reinforced(steps=4, lr=1e-2, batch_size=2, seed=3)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not any(parameter.requires_grad for parameter in reinforced.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())

    plain = tiny.model()
    optimizer = torch.optim.AdamW(plain.parameters(), 1e-2, betas=(0.9, 0.98), weight_decay=0.0)
    order = SeededOrder(len(FORGET), 2, 3, "reinforced")
    for step in range(4):
        batch = [task.examples[row] for row in order.batch(step)]
        tokens = sum(len(example.answer) for example in batch)
        optimizer.zero_grad()
        (sum(row_nlls(plain, batch)) / tokens).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(reinforced.state_dict()[name], weight, rtol=1e-4, atol=1e-5)
    assert (nll_sums(reinforced, task.examples) < nll_sums(model, task.examples)).all()
