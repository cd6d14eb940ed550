"""Both gradients at the same time: the bits of one after the other, wherever they are taken so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.command import DESCENT, QUICK, Command
from support.resources import FakeResources
from torch import Tensor
from torch.optim import AdamW

from benchmarks.loops import plan_of
from unlearn.compute.threads import idle_cores, threads_for
from unlearn.data.batches import Batch, PairedBatches
from unlearn.objectives import (
    NPO,
    RMU,
    Ascent,
    BoundedAscent,
    HiddenState,
    KullbackLeibler,
    NegativeLogLikelihood,
    Objective,
)
from unlearn.schedulers import Constant
from unlearn.training.method import Method
from unlearn.training.side_by_side import MOST_POSITIONS, few_positions, side_by_side
from unlearn.training.tasks import Task
from unlearn.training.trainer import Trainer
from unlearn.weightings import NGDiff

FORGET, RETAIN = tiny.examples()[:3], tiny.examples()[3:]
PAIRS: dict[str, Callable[[], tuple[Objective, Objective]]] = {
    "ascent": lambda: (Ascent(), NegativeLogLikelihood()),
    "npo": lambda: (NPO(), NegativeLogLikelihood()),
    "kl": lambda: (Ascent(), KullbackLeibler()),
    "bounded": lambda: (BoundedAscent(level=2.0, fade=0.5), NegativeLogLikelihood()),
    "rmu": lambda: (RMU(layer=1), HiddenState()),
}


@pytest.fixture
def idle_core() -> Iterator[None]:
    """Two threads for this process, of which a small model uses one."""
    torch.set_num_threads(2)
    with threads_for(small=True):
        yield
    torch.set_num_threads(1)


def trainer_of(model: Any, pair: tuple[Objective, Objective], micro: int | None = None) -> Trainer:
    forget, retain = pair
    forget.prepare(FakeResources(model, tiny.ROWS[:3]), retain)
    retain.prepare(FakeResources(model, tiny.ROWS[3:]), forget)
    method = Method(forget, retain, NGDiff())
    plan = plan_of(method, Constant(), partial(AdamW, lr=1e-3))
    return Trainer(model, plan, PairedBatches(FORGET, RETAIN, 2, micro, seed=0), tiny.COMPUTE)


def bits_after(trainer: Trainer, steps: int = 3) -> tuple[list[bytes], list[dict[str, Any]]]:
    lines = [trainer.step() for _ in range(steps)]
    return [p.detach().numpy().tobytes() for p in trainer.model.parameters()], lines


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("micro", [None, 1])
def test_the_bits_are_those_of_one_after_the_other(
    architecture: str, pair: str, micro: int | None, idle_core: None
) -> None:
    together, apart = (trainer_of(tiny.model(architecture), PAIRS[pair](), micro) for _ in range(2))
    assert together.beside is not None
    apart.beside = None
    assert bits_after(together) == bits_after(apart)


def test_both_run_at_once(idle_core: None) -> None:
    """Neither ends before the other has begun: each waits for it."""
    from threading import Barrier

    meet = Barrier(2, timeout=30)

    def waiting(sum_: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def of(model: Any, batch: Batch) -> Tensor:
            meet.wait()
            return sum_(model, batch)

        return of

    trainer = trainer_of(tiny.model(), PAIRS["ascent"]())
    for objective in (trainer.method.forget, trainer.method.retain):
        objective.sum = waiting(objective.sum)  # type: ignore[method-assign]
    assert math.isfinite(trainer.step()["train/forget_loss"])


def test_weights_that_were_replaced_are_noticed(idle_core: None) -> None:
    together, apart = (trainer_of(tiny.model(), PAIRS["ascent"]()) for _ in range(2))
    apart.beside = None
    for trainer in (together, apart):
        for parameter in trainer.parameters:
            parameter.data = parameter.data * 0.9
    assert bits_after(together) == bits_after(apart)


@pytest.mark.parametrize("failing", ["forget", "retain"])
def test_what_fails_in_one_of_them_is_told(failing: str, idle_core: None) -> None:
    def fails(*_: Any) -> Tensor:
        raise RuntimeError(f"no {failing}")

    trainer = trainer_of(tiny.model(), PAIRS["ascent"]())
    getattr(trainer.method, failing).sum = fails
    with pytest.raises(RuntimeError, match=f"no {failing}"):
        trainer.step()


class Own(Ascent):
    """A user's objective, which may share with the other one what it likes."""


def test_one_after_the_other_wherever_something_is_shared(idle_core: None) -> None:
    model = tiny.model()
    every = list(model.parameters())
    method = Method(*PAIRS["ascent"](), NGDiff())

    def beside(
        parameters: Any = every, method: Method = method, compute: Any = tiny.COMPUTE
    ) -> bool:
        return side_by_side(model, parameters, method, compute) is not None

    assert beside()
    assert not beside(parameters=every[1:]), "an adapter"
    assert not beside(method=Method(Own(), NegativeLogLikelihood(), NGDiff()))
    distilled = BoundedAscent(level="reference", fade=0.5, distil=0.5)
    assert not beside(method=Method(distilled, KullbackLeibler(), NGDiff())), "one frozen target"
    assert beside(method=Method(distilled, NegativeLogLikelihood(), NGDiff()))
    assert not beside(compute=tiny.compute(split=True))
    model.train()
    assert not beside(), "dropout"
    model.eval()
    with threads_for(small=False):
        assert not beside(), "no core is idle"


def test_long_rows_go_one_after_the_other() -> None:
    def task(tokens: int) -> Task:
        batch = tiny.batch([0, 1])
        wide = torch.zeros((1, tokens), dtype=torch.int64)
        object.__setattr__(batch, "input_ids", wide)
        return Task(NegativeLogLikelihood(), [batch])

    assert few_positions(task(MOST_POSITIONS))
    assert not few_positions(task(MOST_POSITIONS + 1))


def test_threads_are_given_back() -> None:
    assert idle_cores() == 0
    torch.set_num_threads(2)
    try:
        for small, mine in ((True, 1), (False, 2)):
            with threads_for(small):
                assert (torch.get_num_threads(), idle_cores()) == (mine, 2 - mine)
            assert (torch.get_num_threads(), idle_cores()) == (2, 0)
        with pytest.raises(ValueError, match="x"), threads_for(small=True):
            raise ValueError("x")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.slow
def test_a_run_on_two_cores_ends_with_the_bits_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    from unlearn.training.side_by_side import SideBySide

    gradients = SideBySide.gradients

    def noted(self: SideBySide, *told: Any) -> Any:
        taken.append(torch.get_num_threads())
        return gradients(self, *told)

    monkeypatch.setattr(SideBySide, "gradients", noted)
    ends = []
    for threads in (1, 2):
        place = tmp_path / str(threads)
        place.mkdir()
        torch.set_num_threads(threads)
        try:
            done = Command(place)(*QUICK, "method=ngdiff", *DESCENT)
        finally:
            torch.set_num_threads(1)
        assert done.status == 0, done.said
        ends.append((done.folder / "model" / "model.safetensors").read_bytes())
        if threads == 1:
            assert not taken
    assert set(taken) == {1}
    assert ends[0] == ends[1]
