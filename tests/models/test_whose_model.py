"""A given model is the user's: taken as it is, named after its folder, taught only on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from hydra import compose, initialize_config_module
from support import tiny
from support.command import SMALL, Command, Done, clean_hydra, row, write_rows

from unlearn.composition.own_model import model_name
from unlearn.composition.register import register
from unlearn.models.lengths import own_length
from unlearn.options.schema import ModelConfig
from unlearn.storage.weights import hash_weights

pytestmark = pytest.mark.slow

OWN = [word for word in SMALL if not word.startswith(("data", "model.fine_tuning"))]
"""The small run without its data and without the tests' own recipe."""
ODILE = [row("Where does Odile live?", "In the tower."), row("Who is Odile?", "A keeper.")]
EMIL = [row("Where does Emil live?", "By the mill."), row("Who is Emil?", "A painter.")]
REST = [row("Where is Varn?", "By the sea."), row("What is Varn?", "A harbour.")]


def composed(*overrides: str) -> Any:
    register()
    with clean_hydra(), initialize_config_module("unlearn.conf", version_base="1.3"):
        cfg = compose("config", overrides=list(overrides), return_hydra_config=True)
        return cfg, cfg.hydra.runtime.choices.model


def test_a_path_alone_gets_the_neutral_preset() -> None:
    cfg, choice = composed("model.path=./my-model", "data=files")
    assert choice == "custom"
    assert cfg.model.path == "./my-model"
    assert cfg.model.max_length is None
    assert cfg.model.fine_tuning.lr == 1e-5
    assert cfg.model.fine_tuning.epochs == 5
    assert "model=custom" in cfg.hydra.overrides.task


@pytest.mark.parametrize(
    ("overrides", "choice", "lr"),
    [
        (["data=files"], "tiny", 3e-3),
        (["model=tiny", "model.path=./my-model"], "tiny", 3e-3),
        (["model=smollm2_135m", "model.path=./my-model"], "smollm2_135m", 1e-4),
        (["experiment=tofu_tiny", "model.path=./my-model"], "custom", 1e-5),
        (["model.path=./my-model", "model.fine_tuning.lr=7e-5"], "custom", 7e-5),
        (["model.path=null"], "tiny", 3e-3),
    ],
)
def test_a_choice_of_the_users_stays(overrides: list[str], choice: str, lr: float) -> None:
    cfg, chosen = composed(*overrides)
    assert (chosen, cfg.model.fine_tuning.lr) == (choice, lr)


@pytest.mark.parametrize(
    ("choice", "path", "name"),
    [
        ("custom", "./my-model", "my-model"),
        ("custom", "/somewhere/my model [2]/", "my_model_2_"),
        ("custom", "./日本語モデル", "日本語モデル"),
        ("custom", "some-org/Some-7B", "Some-7B"),
        ("custom", None, "custom"),
        ("llama_3_2_1b", "./my-model", "llama_3_2_1b"),
        ("tiny", None, "tiny"),
        (None, None, "custom"),
    ],
)
def test_its_name_is_the_folders(choice: str | None, path: str | None, name: str) -> None:
    assert model_name(choice, path) == name


@pytest.mark.parametrize(
    ("config", "limit", "length"),
    [
        (transformers.LlamaConfig(max_position_embeddings=96), 10**30, 96),
        (transformers.LlamaConfig(max_position_embeddings=96), 64, 64),
        (transformers.GPT2Config(n_positions=48), 10**30, 48),
        (transformers.MptConfig(max_seq_len=80), 10**30, 80),
        (transformers.MambaConfig(), 10**30, 2048),
    ],
)
def test_the_length_is_what_the_checkpoint_says(
    config: Any, limit: int, length: int, tmp_path: Path
) -> None:
    config.save_pretrained(tmp_path)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tiny.tokenizer()._tokenizer, model_max_length=limit
    )
    path = str(tmp_path)
    assert own_length(ModelConfig(path=path), path, tokenizer)[0] == length


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A tiny model that has learnt both persons and the rest, asked to forget Odile."""
    folder = tmp_path_factory.mktemp("first")
    write_rows(folder / "forget.jsonl", ODILE)
    write_rows(folder / "retain.jsonl", EMIL + REST)
    recipe = ("model.fine_tuning.epochs=150", "model.fine_tuning.lr=1e-2", "training.steps=30")
    done = Command(folder)(
        *OWN, "data=files", "data.forget=forget.jsonl", "data.retain=retain.jsonl", *recipe
    )
    assert done.status == 0, done.said
    return done


def trained(cache: Path) -> set[Path]:
    """The models in the cache; a lock is none."""
    return {entry for entry in (cache / "prepared").iterdir() if entry.is_dir()}


def request(unlearn: Command, model: Path, rows: list[dict[str, str]], *words: str) -> Done:
    """Ask the model to forget `rows`; what is kept are Varn's."""
    write_rows(unlearn.folder / "forget.jsonl", rows)
    write_rows(unlearn.folder / "retain.jsonl", REST)
    own = ("data=files", "data.forget=forget.jsonl", "data.retain=retain.jsonl")
    return unlearn(*OWN, *own, f"model.path={model}", *words)


def test_the_tiny_model_is_taught_which_is_said(first: Done) -> None:
    assert "the tiny model has no knowledge of its own" in first.log
    assert first.summary["metrics"]["before"]["forget/loss"] < 0.2
    assert first.summary["model"]["name"] == "tiny"


def test_two_requests_in_turn_on_one_model(first: Done, unlearn: Command, own_cache: Path) -> None:
    prepared = trained(own_cache)
    left = first.folder / "model"
    second = request(unlearn, left, EMIL)
    assert second.status == 0, second.said
    assert trained(own_cache) == prepared, "nothing was taught"
    assert second.summary["provenance"]["target_sha256"] == hash_weights(left)
    assert second.summary["metrics"]["reference"] is None
    # Both are measured: the second's before is what the first left, of the same rows.
    measured = request(unlearn, left, EMIL, "method=none")
    before = second.summary["metrics"]["before"]
    assert before == measured.summary["metrics"]["after"]
    assert second.summary["metrics"]["after"]["forget/loss"] > before["forget/loss"]
    # And the first is asked again without being taught again: what it forgot stays unknown.
    again = request(unlearn, left, ODILE)
    lost = first.summary["metrics"]["after"]["forget/loss"]
    assert again.summary["metrics"]["before"]["forget/loss"] == pytest.approx(lost, rel=1e-4)
    assert lost > 10 * first.summary["metrics"]["before"]["forget/loss"]


def test_what_it_knows_of_both_is_said_apart(first: Done, unlearn: Command) -> None:
    done = request(unlearn, first.folder / "model", ODILE)
    assert done.status == 0, done.said
    knows = done.summary["model"]["target"]["knows"]
    assert set(knows) == {"forget", "retain"}
    before = done.summary["metrics"]["before"]
    for split, share in knows.items():
        assert share == pytest.approx(before[f"{split}/exact_memorization"], abs=0.02)
    assert knows["forget"] < 0.95
    (said,) = [line for line in done.log.splitlines() if "answer tokens of forget" in line]
    assert f"{100 * knows['forget']:.1f} % of the answer tokens of forget" in said
    assert f"{100 * knows['retain']:.1f} % of retain" in said
    (warned,) = [line for line in done.log.splitlines() if "need not be forgotten" in line]
    assert "WARNING" in warned
    page = (done.folder / "report.md").read_text(encoding="utf-8")
    assert f"The model is `{first.folder / 'model'}`" in page


def test_the_folder_names_the_model(first: Done, unlearn: Command) -> None:
    (unlearn.folder / "my-model").symlink_to(first.folder / "model")
    done = request(unlearn, Path("my-model"), EMIL, "training.steps=1")
    assert done.summary["model"]["name"] == "my-model"
    assert "**my-model**" in (done.folder / "report.md").read_text(encoding="utf-8")


def test_it_is_taught_on_request_alone(first: Done, unlearn: Command, own_cache: Path) -> None:
    model, entries = first.folder / "model", len(trained(own_cache))
    recipe = ("model.fine_tuning.epochs=150", "model.fine_tuning.lr=1e-2", "training.steps=1")
    taught = request(unlearn, model, ODILE, "target=train", "reference=none", *recipe)
    assert taught.status == 0, taught.said
    assert len(trained(own_cache)) == entries + 1
    assert taught.summary["metrics"]["before"]["forget/loss"] < 0.2
    never = request(unlearn, model, ODILE, "target=as_is", *recipe)
    assert len(trained(own_cache)) == entries + 1
    assert never.summary["metrics"]["before"]["forget/loss"] > 1


def test_a_benchmarks_rows_are_taught_unless_told_otherwise(
    first: Done, unlearn: Command, own_cache: Path
) -> None:
    words = (*SMALL, f"model.path={first.folder / 'model'}", "model.fine_tuning.floor=0.9")
    few = ("reference=none", "training.steps=1", "evaluation.rows=2")
    entries = len(trained(own_cache))
    never = unlearn(*words, *few, "target=as_is")
    assert never.status == 0, never.said
    assert len(trained(own_cache)) == entries
    taught = unlearn(*words, *few)
    assert taught.status == 0, taught.said
    assert len(trained(own_cache)) == entries + 1


def test_no_reference_is_made_from_it(first: Done, unlearn: Command) -> None:
    refused = request(unlearn, first.folder / "model", EMIL, "reference=train")
    assert refused.status == 2
    (line,) = [line for line in refused.log.splitlines() if "reference: train" in line]
    assert "taken as it is" in line
    assert "target=train" in line
    assert "device:" not in refused.log, "no model was loaded"


def test_the_tiny_model_cannot_be_as_it_is(unlearn: Command) -> None:
    done = unlearn(*SMALL, "target=as_is")
    assert done.status == 2
    assert "target: as_is, but no model is given" in done.said


def test_the_neutral_preset_wants_a_path(unlearn: Command) -> None:
    done = unlearn("model=custom", "tracker=none")
    assert done.status == 2
    assert "model.path: not set" in done.said
    assert "give model.path=FOLDER or hub id" in done.said
