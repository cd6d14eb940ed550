"""A model that this program wrote, and that was damaged since, is named where it is used."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.damage import flip, rewrite

from unlearn.experiment.finished import still_there
from unlearn.models import fetch_smollm2, fine_tune
from unlearn.models.deliver import form_of, save_unlearned
from unlearn.models.places import check_path, location_problems
from unlearn.options.schema import FineTuningConfig, ModelConfig
from unlearn.storage.sealed import SUMS
from unlearn.storage.weights import hash_weights, save_model

RECIPE = FineTuningConfig(epochs=3, batch_size=4, accuracy=1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tiny.model(), tiny.tokenizer(), tmp_path / "saved")
    return tmp_path / "saved"


def test_a_sound_folder_is_no_problem_under_any_name(folder: Path) -> None:
    assert check_path("model.path", str(folder)) == []
    folder.rename(folder.with_name("moved"))
    assert check_path("model.path", str(folder.with_name("moved"))) == []


@pytest.mark.parametrize("option", ["path", "tokenizer"])
def test_a_damaged_folder_is_refused_by_its_option_and_file(folder: Path, option: str) -> None:
    given = {"path": str(folder), option: str(folder)}
    assert location_problems(ModelConfig(**given)) == []
    file = folder / "tokenizer.json"
    rewrite(folder, file.name, file.read_bytes() + b" ")
    problems = location_problems(ModelConfig(**given))
    assert len(problems) == len(given)
    assert problems[-1].startswith(f"model.{option}: {str(folder)!r} is damaged: its tokenizer")
    (folder / SUMS).unlink()  # and then it is a folder like any other
    assert location_problems(ModelConfig(**given)) == []


def test_a_damaged_target_is_not_measured_again(folder: Path) -> None:
    summary = {
        "model": {"target": {"path": str(folder)}},
        "provenance": {"target_sha256": hash_weights(folder)},
    }
    notes: list[str] = []
    assert still_there(summary, "target", notes) is not None
    flip(folder / "config.json")
    assert still_there(summary, "target", notes) is None
    assert notes == [
        f"before: not measured, as {folder} is damaged: its config.json is not as it was written"
    ]


def test_the_unlearned_model_does_not_inherit_the_hashes(folder: Path, tmp_path: Path) -> None:
    (folder / "progress.json").write_text("{}")
    form = form_of(ModelConfig(path=str(folder)))
    save_unlearned(tiny.model(), tiny.tokenizer(), tmp_path / "model", form)
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert "config.json" in names
    assert not names & {SUMS, "progress.json"}


def test_a_damaged_fetched_model_is_fetched_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNLEARN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch_smollm2, "download", lambda _: None)
    monkeypatch.setattr(fetch_smollm2, "load_gguf", lambda _: (tiny.model(), tiny.tokenizer()))
    place, fetched = fetch_smollm2.fetch()
    assert fetched
    assert fetch_smollm2.fetch() == (place, False)
    flip(place / "model.safetensors")
    assert fetch_smollm2.fetch() == (place, True)
    assert hash_weights(place) == hash_weights(folder)


class Stopped(Exception):
    """The end of a process, as a test makes it."""


def learnt(state: Path | None, stop_after: int = 0) -> Any:
    """Return a model after the recipe; or cut it at a batch, with what was kept of its passes."""
    model, learn, batches = tiny.model(), fine_tune.learn_batch, []

    def counted(*told: Any) -> tuple[int, int]:
        batches.append(1)
        if len(batches) == stop_after:
            raise Stopped
        return learn(*told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fine_tune, "learn_batch", counted)
        patch.setattr(fine_tune, "KEEP_MINUTES", 0.0)
        fine_tune.fine_tune(model, tiny.examples(), RECIPE, tiny.COMPUTE, "it", state)
    return model


@pytest.mark.parametrize("damage", [None, "bit", "missing"])
def test_a_damaged_state_of_learning_is_not_gone_on_from(
    damage: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, state = learnt(None), tmp_path / "it.learning"
    with pytest.raises(Stopped):
        learnt(state, stop_after=6)
    if damage == "bit":
        flip(state / "state.pt")
    elif damage == "missing":
        (state / "state.pt").unlink()
    with caplog.at_level(logging.INFO):
        again = learnt(state)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert ("of an earlier attempt" in caplog.text) == (damage is None)
    assert ("is broken (its state.pt" in caplog.text) == (damage is not None)
