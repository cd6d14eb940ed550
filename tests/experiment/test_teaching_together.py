"""Processes that share a model teach it what one process would."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from support import tiny
from support.lessons import Lesson, apart, known, learnt_together

from unlearn.experiment import settings
from unlearn.options.schema import FineTuningConfig, Sharding
from unlearn.storage.sealed import damage_of

RECIPE = FineTuningConfig(lr=1e-3, epochs=4, batch_size=7, accuracy=1.0, weight_decay=0.01)
"""Batches of seven rows and of one: four and three for two processes, one and none."""
MICRO = replace(RECIPE, micro_batch_size=3)
"""Two passes of the one, and one of the other."""
CUT = 6
"""The second batch of the third pass."""
KINDS = (Sharding.ddp, Sharding.fsdp)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one process and two have learnt, whole, cut, and gone on from each other's states."""
    folder = tmp_path_factory.mktemp("lessons")
    Lesson(RECIPE).learn(folder / "whole.safetensors")
    Lesson(RECIPE, state=folder / "alone.learning", stop_at=CUT).learn(folder / "cut")
    lessons = {}
    for kind in KINDS:
        own, left = folder / f"{kind.value}.learning", folder / f"{kind.value}-left.learning"
        alone = folder / f"{kind.value}-alone.learning"
        shutil.copytree(folder / "alone.learning", alone, symlinks=True)
        sealed_as(alone)
        lessons |= {
            f"{kind.value}": Lesson(RECIPE, kind),
            f"{kind.value}-micro": Lesson(MICRO, kind),
            f"{kind.value}-cut": Lesson(RECIPE, kind, own, CUT),
            f"{kind.value}-cut-too": Lesson(RECIPE, kind, left, CUT),
            f"{kind.value}-again": Lesson(RECIPE, kind, own),
            f"{kind.value}-of-one": Lesson(RECIPE, kind, alone),
        }
    learnt_together(2, lessons, folder)
    for kind in KINDS:
        Lesson(RECIPE, state=folder / f"{kind.value}-left.learning").learn(
            folder / f"{kind.value}-by-one.safetensors"
        )
    return folder


def sealed_as(folder: Path) -> None:
    """Let a copied state be known under its own name."""
    sums = folder / "SHA256SUMS"
    text = sums.read_text(encoding="utf-8").split("\n")
    sums.write_text("\n".join([f"# unlearn: {folder.name}", *text[1:]]), encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["", "-micro", "-of-one", "-by-one"])
def test_two_processes_teach_what_one_does(place: Path, kind: Sharding, how: str) -> None:
    """Also where the one goes on from the state that the other was cut with."""
    whole, shared = place / "whole.safetensors", place / f"{kind.value}{how}.safetensors"
    start = place / "start.safetensors"
    if not start.exists():
        Lesson(replace(RECIPE, epochs=1, lr=1e-30)).learn(start)
    assert apart(start, whole) > 1e-2  # they have learnt something
    assert apart(whole, shared) < 1e-5
    expected, found = known(whole), known(shared)
    left = expected["batches"] - (CUT - 2 if how in ("-of-one", "-by-one") else 0)
    assert found == {**expected, "batches": left}
    answers = sum(len(example.answer) for example in tiny.examples())
    assert 0 < round(found["accuracy"] * answers) < answers


def test_each_process_keeps_its_own_part_of_a_sharded_model(place: Path) -> None:
    kept = place / "fsdp.learning"
    assert damage_of(kept) is None
    sizes = [file.stat().st_size for file in (kept / "shards").iterdir()]
    assert len(sizes) == 2
    weights = (place / "whole.safetensors").stat().st_size
    assert max(sizes) < 0.6 * 3 * weights  # half of the weights and of two moments each
    assert (kept / "state.pt").stat().st_size < 0.2 * weights
    assert not (place / "ddp.learning" / "shards").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_processes_go_on_to_the_same_bits(place: Path, kind: Sharding) -> None:
    again, whole = place / f"{kind.value}-again.safetensors", place / f"{kind.value}.safetensors"
    assert known(again)["batches"] == known(whole)["batches"] - CUT + 2
    assert again.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("billions", "wanted", "unlearns", "teaches"),
    [
        (3, "auto", "ddp", "ddp"),  # 48 GB of 64
        (8, "auto", "ddp", "fsdp"),  # an adapter on it fits a GPU, and 128 GB do not
        (8, "ddp", "ddp", "ddp"),  # as the command says
        (8, "auto", "fsdp", "fsdp"),
        (None, "auto", "ddp", "ddp"),
    ],
)
def test_auto_teaches_by_fsdp_what_has_no_room_on_a_gpu(
    billions: int | None,
    wanted: str,
    unlearns: str,
    teaches: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = None if billions is None else billions * 10**9
    gpu = SimpleNamespace(total_memory=80e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)
    monkeypatch.setattr(settings, "resolve_device", lambda _: (torch.device("cuda", 0), "there"))
    monkeypatch.setattr(settings, "number_of_weights", lambda _: count)
    monkeypatch.setattr(settings, "started", lambda: 8)
    cfg = OmegaConf.create({"model": {"device": "auto"}, "training": {"sharding": wanted}})
    cfg.training.sharding = Sharding(wanted)
    assert settings.teaching_of(cfg, Sharding(unlearns)) is Sharding(teaches)
