"""Whole runs with a very small model: what they leave behind, and that they can be repeated."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from safetensors.torch import load_file
from support.checker import checker
from support.command import (
    QUICK,
    SMALL,
    Command,
    Done,
    clean_hydra,
    entries_in,
    files_in,
    finish,
    row,
    start,
    write_rows,
)
from support.forked import Forked

from unlearn.composition.register import register
from unlearn.compute.optimizers import maker_8bit
from unlearn.data.batches import PairedBatches
from unlearn.data.splits import Splits
from unlearn.data.tokens import Example
from unlearn.experiment.settings import Settings, settings_of
from unlearn.objectives import Ascent, NegativeLogLikelihood, NoObjective
from unlearn.options.schema import ModelConfig, TrainingConfig
from unlearn.training.method import Method
from unlearn.training.plan import announced, number_of_steps
from unlearn.weightings import NGDiff

pytestmark = pytest.mark.trains

ROOT = Path(__file__).parents[2]
SPLITS = ("forget", "retain", "real_authors", "world_facts", "holdout")
METRICS = ("loss", "probability", "exact_memorization", "truth_ratio", "truth_ratio_arithmetic")
TEXT_METRICS = ("rougeL_recall", "rouge1_recall", "repetition", "refusals")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The small run with everything: NGDiff, gen, a reference, evaluations on the way, figures."""
    command = Command(tmp_path_factory.mktemp("whole"))
    done = command(*SMALL, "evaluation.every=2", figures=True)
    assert done.status == 0, done.said
    return done


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


# What a run leaves behind.


@pytest.mark.slow
def test_the_run_folder_is_complete(whole: Done) -> None:
    assert checker().check(whole.folder) == []


def test_the_run_folder_holds_what_is_promised_and_nothing_else(whole: Done) -> None:
    found = {path.name for path in whole.folder.iterdir()}
    assert found == {
        ".hydra",
        "unlearn.log",
        "metrics.jsonl",
        "summary.json",
        "report.md",
        "figures",
        "evaluations",
        "model",
    }
    stages = {path.name for path in (whole.folder / "evaluations").iterdir()}
    assert stages == {"before", "reference", "step_2", "after"}
    for stage in stages:
        files = {path.name for path in (whole.folder / "evaluations" / stage).iterdir()}
        assert files == {"scores.parquet", "generations.jsonl", "metrics.json"}
    assert all(path.stat().st_size > 1000 for path in (whole.folder / "figures").iterdir())
    assert not list(whole.folder.rglob("*.tmp")), "a temporary file was left"


def test_the_summary_tells_what_was_done(whole: Done) -> None:
    summary = whole.summary
    assert summary["status"] == "completed"
    assert summary["name"] == whole.folder.name
    assert summary["seed"] == 0
    names = {group: summary[group]["name"] for group in ("method", "data", "model", "scheduler")}
    assert names == {"method": "ngdiff", "data": "minitofu", "model": "tiny", "scheduler": "gen"}
    assert summary["data"]["forget_rows"] == 8
    assert summary["model"]["tiny"]["hidden_size"] == 32
    assert "evaluation.every=2" in summary["overrides"]
    assert summary["verdict"] == {"accepted": None, "conditions": []}
    cost = summary["cost"]
    assert cost["steps"] == 4
    assert cost["tokens"] > 4 * 8 * 10
    assert cost["peak_memory_bytes"] > 2**20
    assert min(cost["train_s"], cost["evaluate_s"]) > 0
    provenance = summary["provenance"]
    assert provenance["target_sha256"] != provenance["reference_sha256"]
    hashes = [f"{name}_sha256" for name in ("config", "data", "target", "reference")]
    assert all(len(provenance[name]) == 64 for name in hashes)
    assert provenance["versions"]["torch"] == torch.__version__


def test_the_summary_agrees_with_the_tables(whole: Done) -> None:
    for stage in ("before", "after", "reference"):
        path = whole.folder / "evaluations" / stage / "metrics.json"
        assert whole.summary["metrics"][stage] == json.loads(path.read_text())


def test_every_metric_of_the_suite_is_there(whole: Done) -> None:
    metrics = whole.summary["metrics"]["after"]
    expected = {f"{split}/{metric}" for split in SPLITS[:2] for metric in METRICS}
    expected |= {f"{split}/{metric}" for split in SPLITS[:-1] for metric in TEXT_METRICS}
    expected |= {f"{split}/loss" for split in SPLITS}
    expected |= {"model_utility", "model_utility_arithmetic", "forget_quality", "forget_quality_D"}
    assert expected <= set(metrics)
    assert all(metrics[name] is not None for name in expected)
    assert not {name for name in metrics if name.startswith("holdout/rouge")}


def test_the_lines_of_the_record(whole: Done) -> None:
    assert [line["step"] for line in whole.steps] == [1, 2, 3, 4]
    for line in whole.steps:
        assert line["train/retain_loss"] > 0 and line["train/forget_loss"] > 0
        assert -1 <= line["train/cosine"] <= 1
        assert line["train/retain_norm"] > 0 and line["train/forget_norm"] > 0
        assert line["train/share_low"] <= line["train/retain_share"] <= line["train/share_high"]
        weight = line["train/weight_retain"]
        assert line["train/retain_share"] == pytest.approx(
            weight / (weight + line["train/weight_forget"])
        )
        # Each gradient is divided by its norm.
        assert weight * line["train/retain_norm"] == pytest.approx(1, rel=1e-4)
        assert line["train/lr"] > 0
        assert line["train/lr_reason"]
    seconds = [line["seconds"] for line in whole.steps]
    assert seconds == sorted(seconds)
    assert [line["epoch"] for line in whole.steps] == [0.5, 1.0, 1.5, 2.0]
    staged = [(line["stage"], line["step"]) for line in whole.lines if "stage" in line]
    assert staged == [("reference", 0), ("before", 0), ("step_2", 2), ("after", 4)]


def test_the_unlearned_model_loads_and_answers(whole: Done) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = whole.folder / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    prompt = tokenizer("Question: Who?\nAnswer:", return_tensors="pt")
    made = model.generate(prompt.input_ids, max_new_tokens=3, do_sample=False)
    assert made.shape[1] > prompt.input_ids.shape[1]
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


def test_what_the_terminal_shows(whole: Done) -> None:
    assert "forget quality" in whole.out and "No verdict" in whole.out
    assert " INFO " not in whole.out, "the log belongs to stderr"
    assert "Traceback" not in whole.said and not whole.warnings
    told = [line.split(" INFO ")[1] for line in whole.err.splitlines() if " INFO " in line]
    assert sorted(told) == sorted(set(told)), "a message came twice"
    assert whole.err == whole.log, "the log in the folder is what the terminal showed"


# The same again, and not the same.


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_another_does_not(unlearn: Command) -> None:
    first, again = unlearn(*QUICK), unlearn(*QUICK)
    assert first.weights == again.weights
    assert first.summary["metrics"] == again.summary["metrics"]
    assert unlearn(*QUICK, "seed=1").weights != first.weights


@pytest.mark.slow
def test_evaluating_on_the_way_changes_no_bit(unlearn: Command) -> None:
    plain, watched = unlearn(*QUICK), unlearn(*QUICK, "evaluation.every=1")
    assert plain.weights == watched.weights
    stages = {path.name for path in (watched.folder / "evaluations").iterdir()}
    assert stages == {"before", "step_1", "step_2", "step_3", "after"}

    def trained(done: Done) -> list[dict[str, Any]]:
        return [{k: v for k, v in line.items() if k != "seconds"} for line in done.steps]

    assert trained(plain) == trained(watched)


@pytest.mark.slow
def test_a_second_run_finds_target_reference_and_their_tables(
    unlearn: Command, whole: Done, own_cache: Path
) -> None:
    before = entries_in(own_cache)
    again = unlearn(*SMALL)
    assert entries_in(own_cache) == before
    for told in ("target: from", "reference: from", "before: its", "reference: its"):
        assert again.log.count(f"{told} ") == 1, again.log
    assert again.summary["metrics"] == whole.summary["metrics"]
    assert again.weights == whole.weights


@pytest.mark.slow
def test_runs_that_differ_in_seed_and_method_share_one_target(
    unlearn: Command, whole: Done, own_cache: Path
) -> None:
    before = entries_in(own_cache)
    other = unlearn(*SMALL, "seed=5", "method=pcgrad", "scheduler=cosine")
    assert other.status == 0, other.said
    assert entries_in(own_cache) == before
    for name in ("target_sha256", "reference_sha256", "data_sha256"):
        assert other.summary["provenance"][name] == whole.summary["provenance"][name]


NAMES = ("one", "two")


@pytest.mark.slow
def test_two_processes_at_once_train_once(tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    both = {
        name: Forked(
            *SMALL,
            f"hydra.run.dir={name}",
            cwd=tmp_path,
            said=tmp_path / f"{name}.said",
            UNLEARN_CACHE=cache,
        )
        for name in NAMES
    }
    done = [process.finish(tmp_path / name) for name, process in both.items()]
    assert [one.status for one in done] == [0, 0], done[0].said + done[1].said
    told = done[0].log + done[1].log
    for name in ("target", "reference"):
        assert told.count(f"{name}: learns") == 1
        assert told.count(f"{name}: from the cache") == 1
    assert not done[0].warnings + done[1].warnings and "ERROR" not in told
    assert done[0].weights == done[1].weights
    assert not list((tmp_path / "cache").rglob("*unfinished*"))


# Which models.


@pytest.mark.slow
def test_no_method_evaluates_and_trains_nothing(unlearn: Command) -> None:
    done = unlearn(*SMALL, "method=none", "evaluation.rows=2", figures=True)
    assert done.status == 0, done.said
    assert checker().check(done.folder) == []
    metrics = done.summary["metrics"]
    assert metrics["after"] == metrics["before"]
    assert done.steps == []
    assert done.summary["cost"]["steps"] == 0
    assert not (done.folder / "model").exists()


@pytest.mark.slow
def test_without_a_reference(unlearn: Command) -> None:
    done = unlearn(*SMALL, "reference=none", "evaluation.rows=2", figures=True)
    assert done.status == 0, done.said
    assert checker().check(done.folder) == []
    assert done.summary["metrics"]["reference"] is None
    assert done.summary["provenance"]["reference_sha256"] is None
    assert "forget_quality" not in done.summary["metrics"]["after"]
    assert done.log.count("forget_quality: not measured") == 1
    assert not (done.folder / "evaluations" / "reference").exists()


@pytest.mark.slow
def test_a_reference_by_its_path(unlearn: Command, whole: Done) -> None:
    path = whole.summary["model"]["reference"]["path"]
    done = unlearn(*SMALL, f"reference={path}")
    assert done.status == 0, done.said
    for name in ("reference_sha256", "target_sha256"):
        assert done.summary["provenance"][name] == whole.summary["provenance"][name]
    assert done.summary["metrics"] == whole.summary["metrics"]


@pytest.mark.slow
def test_a_model_that_is_a_target_already(unlearn: Command, whole: Done, own_cache: Path) -> None:
    prepared = set((own_cache / "prepared").iterdir())
    path = whole.summary["model"]["target"]["path"]
    done = unlearn(*SMALL, f"model.path={path}")
    assert done.status == 0, done.said
    assert set((own_cache / "prepared").iterdir()) == prepared, "nothing was trained"
    assert f"target: {path} knows the data" in done.log
    assert done.summary["metrics"]["reference"] is None
    assert "none can be trained from it" in done.log
    assert (
        done.summary["provenance"]["target_sha256"]
        == (whole.summary["provenance"]["target_sha256"])
    )
    assert done.weights == whole.weights
    told = unlearn(*SMALL, f"model.path={path}", "reference=train")
    assert told.status == 2
    assert told.said.count("has already learnt the forget rows") == 1


# Sweeps.


@pytest.mark.slow
def test_a_sweep_runs_every_combination(unlearn: Command) -> None:
    done = unlearn("-m", *QUICK, "method=ngdiff,graddiff", "seed=0,1")
    assert done.status == 0, done.said
    jobs = sorted(path for path in done.folder.iterdir() if path.is_dir())
    methods = ("ngdiff", "ngdiff", "graddiff", "graddiff")
    assert [job.name for job in jobs] == [f"{i}-{m}-minitofu-tiny" for i, m in enumerate(methods)]
    ended = [Done(0, "", "", job) for job in jobs]
    assert [one.summary["method"]["name"] for one in ended] == list(methods)
    assert [one.summary["seed"] for one in ended] == [0, 1, 0, 1]
    assert all(one.summary["status"] == "completed" for one in ended)
    assert [checker().check(job) for job in jobs] == [[], [], [], []]
    assert len({one.weights for one in ended}) == 4


@pytest.mark.slow
def test_a_job_that_fails_does_not_stop_a_sweep(unlearn: Command) -> None:
    done = unlearn("-m", *QUICK, "method=linear", "method.weighting.retain_share=2,0.5")
    assert done.status == 2
    failed, other = (
        Done(0, "", "", done.folder / f"{number}-linear-minitofu-tiny") for number in (0, 1)
    )
    message = "method.weighting.retain_share: 2.0; allowed: 0 to 1"
    assert failed.log.count(message) == 1
    assert message not in other.log
    assert failed.summary["status"] == "failed"
    assert other.summary["status"] == "completed"
    # Once when it happens, and once more in the summary at the end of the sweep.
    assert done.err.count(message) == 1
    assert done.out.count(message) == 1
    assert "Traceback" not in done.said
    assert "not completed: method.weighting.retain_share=2 seed=0: " in done.out
    assert all((done.folder / f"comparison.{kind}").is_file() for kind in ("html", "csv"))


@pytest.mark.slow
def test_jobs_of_a_parallel_sweep_fail_with_the_same_words(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    parallel = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep")
    words = (*QUICK, "method=linear", "method.weighting.retain_share=2,0.5")
    done = finish(start(*parallel, *words, cwd=tmp_path), tmp_path / "sweep")
    assert done.status == 2, done.said
    assert "Traceback" not in done.said
    failed, other = (
        Done(0, "", "", done.folder / f"{number}-linear-minitofu-tiny") for number in (0, 1)
    )
    assert failed.log.count("method.weighting.retain_share: 2.0; allowed: 0 to 1") == 1
    assert other.summary["status"] == "completed"
    assert done.out.count("not completed: ") == done.out.count("comparison.html") == 1
    assert (done.folder / "comparison.html").is_file()


# Options that change how it is computed.


def losses(done: Done) -> list[float]:
    assert done.status == 0, done.said
    return [line[f"train/{task}_loss"] for line in done.steps for task in ("retain", "forget")]


def largest_difference(one: Done, other: Done) -> float:
    first, second = (
        load_file(done.folder / "model" / "model.safetensors") for done in (one, other)
    )
    return max((first[name] - second[name]).abs().max().item() for name in first)


PLAIN = (*QUICK, "scheduler=constant", "optimizer=sgd", "model.autocast=none")
"""Without Adam's division, which makes steps of a full rate out of rounding errors; in float32."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Done:
    done = Command(tmp_path_factory.mktemp("plain"))(*PLAIN)
    assert done.status == 0, done.said
    return done


@pytest.mark.slow
def test_bfloat16_autocast_on_the_cpu(unlearn: Command, plain: Done) -> None:
    done = unlearn(*PLAIN, "model.autocast=bfloat16")
    assert "computing in bfloat16: model.autocast=bfloat16" in done.log
    assert losses(done) == pytest.approx(losses(plain), rel=0.02)
    assert losses(done) != losses(plain)
    kept = load_file(done.folder / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}


@pytest.mark.slow
def test_gradient_checkpointing_gives_the_same_losses(unlearn: Command, plain: Done) -> None:
    done = unlearn(*PLAIN, "model.gradient_checkpointing=true")
    assert losses(done) == pytest.approx(losses(plain), rel=1e-6)
    assert largest_difference(done, plain) < 1e-6


@pytest.mark.slow
def test_micro_batches_change_memory_and_not_results(unlearn: Command, plain: Done) -> None:
    done = unlearn(*PLAIN, "training.micro_batch_size=1")
    assert losses(done) == pytest.approx(losses(plain), rel=1e-5)
    assert largest_difference(done, plain) < 1e-5
    assert done.summary["cost"]["tokens"] == plain.summary["cost"]["tokens"]


@pytest.mark.slow
def test_clipping_bounds_the_step(unlearn: Command, plain: Done) -> None:
    done = unlearn(*PLAIN, "training.clip=0.5", "optimizer.lr=0.25", "training.steps=1")
    assert [line["train/direction_norm"] for line in done.steps] == [0.5]
    assert plain.steps[0]["train/direction_norm"] > 0.5
    target = load_file(Path(done.summary["model"]["target"]["path"]) / "model.safetensors")
    after = load_file(done.folder / "model" / "model.safetensors")
    moved = math.sqrt(sum(((after[n] - target[n]) ** 2).sum().item() for n in target))
    assert moved == pytest.approx(0.5 * 0.25, rel=1e-4)


@pytest.mark.slow
def test_epochs_are_passes_over_the_forget_rows(unlearn: Command) -> None:
    done = unlearn(*QUICK, "training.steps=null", "training.epochs=1.5")
    assert done.summary["cost"]["steps"] == 3  # 8 rows, 4 a step: 2 steps a pass
    assert done.steps[-1]["epoch"] == 1.5


@pytest.mark.slow
def test_states_are_kept_where_asked_for(unlearn: Command) -> None:
    done = unlearn(*QUICK, "training.checkpoint_every=2", "training.keep_checkpoints=true")
    left = {path.name for path in (done.folder / "checkpoints").iterdir()}
    assert left == {"step_4", "run.json"}
    again = unlearn(*QUICK, "training.checkpoint_every=2")
    assert not (again.folder / "checkpoints").exists()
    assert again.weights == done.weights


# Every choice of every group.


@pytest.fixture
def settings() -> Iterator[Callable[..., Settings]]:
    """Compose a configuration and validate all of it, without loading anything."""
    register()
    with clean_hydra(), initialize_config_module("unlearn.conf", version_base="1.3"):
        yield lambda *overrides: settings_of(compose("config", list(overrides)))


@pytest.mark.parametrize("name", choices("model"))
def test_every_model_validates(
    name: str, settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNLEARN_SMOLLM2_PATH", raising=False)

    def nothing_loads(*_: Any, **__: Any) -> None:
        raise AssertionError("something was loaded")

    monkeypatch.setattr("transformers.PreTrainedModel.__init__", nothing_loads)
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", nothing_loads)
    made = settings(f"model={name}", "model.device=cpu").model
    assert isinstance(made, ModelConfig)
    assert (made.path is None) == (name in ("tiny", "custom"))
    assert made.fine_tuning.epochs >= 1


@pytest.mark.parametrize("name", choices("data"))
def test_every_data_set_validates(name: str, settings: Callable[..., Settings]) -> None:
    more = {
        "files": ["data.forget=f.jsonl", "data.retain=r.jsonl"],
        "requests": ["data.path=folder"],
        "lume": ["data.path=folder"],
        "wmdp_bio": ["data.forget=f.jsonl"],
    }
    assert callable(settings(f"data={name}", *more.get(name, [])).read)


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_experiment_composes(name: str, settings: Callable[..., Settings]) -> None:
    assert settings(f"experiment={name}", "model=tiny", "data=minitofu").training


@pytest.mark.slow
@pytest.mark.parametrize("part", ["forget", "retain", "weighting"])
def test_every_part_of_a_method_validates(
    part: str, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    alternatives = write_rows(tmp_path / "alternatives.jsonl", FORGET)
    alone = {
        "alternatives": [f"method.forget.alternatives={alternatives}"],
        "dpo": [f"method.forget.alternatives={alternatives}"],
        "hidden_state": ["method/forget=rmu"],
    }
    for name in choices(f"method/{part}"):
        made = settings(f"method/{part}={name}", *alone.get(name, [])).method
        assert made is not None and getattr(made, part) is not None


def runs_two_steps(done: Done) -> None:
    assert done.status == 0, done.said
    assert len(done.steps) == 2
    assert all(math.isfinite(value) for value in losses(done))
    assert done.summary["metrics"]["after"] != done.summary["metrics"]["before"]


@pytest.mark.slow
@pytest.mark.parametrize("name", choices("scheduler"))
def test_every_scheduler_runs(name: str, unlearn: Command) -> None:
    done = unlearn(*QUICK, "training.steps=2", f"scheduler={name}", "optimizer.lr=1e-3")
    runs_two_steps(done)
    assert done.summary["scheduler"]["name"] == name


@pytest.mark.slow
@pytest.mark.parametrize("name", choices("optimizer"))
def test_every_optimizer_runs(name: str, unlearn: Command) -> None:
    if name == "adamw_8bit" and maker_8bit() is None:
        pytest.skip("needs the extra quantization")
    runs_two_steps(unlearn(*QUICK, "training.steps=2", f"optimizer={name}"))


# Rows of one's own.

FORGET = [row(f"What did Ada write in {year}?", f"A book about {year} boats.") for year in (1, 2)]
RETAIN = [row(f"What did Ben grow in {year}?", f"He grew {year} roses.") for year in (3, 4, 5)]
OWN = [word for word in QUICK if not word.startswith("data")] + ["data=files"]


@pytest.mark.slow
def test_files_of_questions(unlearn: Command, tmp_path: Path) -> None:
    write_rows(tmp_path / "forget.jsonl", FORGET)
    write_rows(tmp_path / "retain.jsonl", RETAIN)
    done = unlearn(*OWN, "data.forget=forget.jsonl", "data.retain=retain.jsonl", figures=True)
    assert done.status == 0, done.said
    assert checker().check(done.folder) == []
    assert {name.split("/")[0] for name in done.summary["metrics"]["after"] if "/" in name} == {
        "forget",
        "retain",
    }
    assert done.summary["data"]["forget"] == "forget.jsonl"
    assert done.log.count("forget: no truth ratio") == 1


@pytest.mark.slow
def test_a_line_separator_within_a_question(unlearn: Command, tmp_path: Path) -> None:
    odd = row("What\u2028did\x85Ada write?", "A book about boats.")
    write_rows(tmp_path / "forget.jsonl", [odd])
    write_rows(tmp_path / "retain.jsonl", RETAIN)
    words = (*OWN, "data.forget=forget.jsonl", "data.retain=retain.jsonl", "method=none")
    for done in (unlearn(*words), unlearn(*words)):
        assert done.status == 0, done.said
        assert not done.warnings
    assert done.log.count("before: its tables are in the cache") == 1
    lines = (done.folder / "evaluations" / "before" / "generations.jsonl").open(encoding="utf-8")
    with lines:
        assert json.loads(next(lines))["question"] == odd["question"]


def test_files_of_plain_text(unlearn: Command, tmp_path: Path) -> None:
    for name, rows in (("forget", FORGET), ("retain", RETAIN)):
        write_rows(tmp_path / f"{name}.jsonl", [{"passage": one["answer"]} for one in rows])
    done = unlearn(
        *OWN, "data.forget=forget.jsonl", "data.retain=retain.jsonl", "data.text=passage"
    )
    assert done.status == 0, done.said
    assert done.summary["metrics"]["after"]["forget/loss"] > 0


TOLD: list[str] = []


class OwnReader:
    """A reader as a user writes one: no dataclass, no file of ours."""

    def __init__(self, greeting: str) -> None:
        TOLD.append(greeting)

    def read(self) -> Splits:
        from unlearn.data.splits import Row

        forget = [Row(one["question"], one["answer"]) for one in FORGET]
        retain = [Row(one["question"], one["answer"]) for one in RETAIN]
        return Splits("own", forget, retain, {"forget": forget, "retain": retain}, [])


def test_a_users_own_group(unlearn: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "data"
    folder.mkdir(parents=True)
    node = OmegaConf.create({"_target_": "test_experiment.OwnReader", "greeting": "hello"})
    OmegaConf.save(node, folder / "mine.yaml")
    words = [word for word in OWN if word != "data=files"]
    done = unlearn("--config-dir", str(tmp_path / "mine"), *words, "data=mine")
    assert done.status == 0, done.said
    assert TOLD == ["hello"]
    assert done.summary["data"]["name"] == "mine"
    assert files_in(folder).keys() == {"mine.yaml"}


@pytest.mark.parametrize(
    ("training", "rows", "steps"),
    [
        (TrainingConfig(), 360, 150),
        (TrainingConfig(), 3800, 1425),
        (TrainingConfig(), 20000, 1500),
        (TrainingConfig(epochs=2), 360, 6),
        (TrainingConfig(steps=7, epochs=2), 360, 7),
    ],
)
def test_the_default_length_grows_with_the_retain_set(
    training: TrainingConfig, rows: int, steps: int
) -> None:
    example = Example((1,), (2,))
    batches = PairedBatches([example] * 40, [example] * rows, 16, None, 0)
    ascent = Ascent()
    both = Method(ascent, NegativeLogLikelihood(), NGDiff())
    assert number_of_steps(training, batches, both) == steps
    forget_alone = Method(ascent, NoObjective(), NGDiff())
    assert number_of_steps(training, batches, forget_alone) == min(steps, 150)
    said = announced(steps, training, batches)
    assert said.startswith(f"{steps} steps: passes, {steps * 16 / 40:.3g} over the 40 forget rows")
    assert ("training.steps changes it" in said) == (training == TrainingConfig())
