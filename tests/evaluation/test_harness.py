"""lm-evaluation-harness as a measure: its own command line is the reference, to the last digit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.command import QUICK, SMALL, Command, Done

from unlearn.composition.foreign import require_data
from unlearn.errors import ConfigurationError
from unlearn.options.schema import LmEvalConfig

ROOT = Path(__file__).parents[2]
there = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval (the extra) is not there")
MULTIPLE_CHOICE = """
task: {name}
tag: {tag}
dataset_path: json
dataset_kwargs: {{data_files: {rows}}}
test_split: train
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
  - {{metric: brier_score, aggregation: brier_score, higher_is_better: false}}
"""
ROLLING = """
task: pages
dataset_path: json
dataset_kwargs: {{data_files: {rows}}}
test_split: train
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: question
metric_list:
  - {{metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}}
  - {{metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}}
"""
SPOKEN = """
task: spoken
dataset_path: json
dataset_kwargs: {{data_files: {rows}}}
test_split: train
output_type: generate_until
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 4, do_sample: false}}
filter_list:
  - name: first-word
    filter: [{{function: regex, regex_pattern: "(\\\\w+)"}}, {{function: take_first}}]
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
"""
GROUP = """
group: town
task: [harbour, market]
aggregate_metric_list:
  - {{metric: acc, aggregation: mean, weight_by_size: true}}
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tasks of each kind, on the rows of the example."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = ROOT / "examples" / "lm_eval" / "everyday.jsonl"
    for name in ("harbour", "market"):
        text = MULTIPLE_CHOICE.format(name=name, tag="places", rows=rows)
        (folder / f"{name}.yaml").write_text(text)
    for name, text in (("pages", ROLLING), ("spoken", SPOKEN), ("town", GROUP)):
        (folder / f"{name}.yaml").write_text(text.format(rows=rows))
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")


def option(tasks: Path, *names: str, **options: Any) -> list[str]:
    more = [f"evaluation.lm_eval.{name}={value}" for name, value in options.items()]
    folder = f"evaluation.lm_eval.include_path={tasks}"
    return [f"evaluation.lm_eval.tasks=[{','.join(names)}]", folder, *more]


def of_command_line(
    model: Path, tasks: Path, out: Path, *words: str, more: str = ""
) -> dict[str, float]:
    """What lm-eval's own command prints of a model's folder, by our names."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu"),
            *("--model_args", f"pretrained={model},dtype=float32{more}"),
            *("--include_path", str(tasks), "--output_path", str(out), *words),
        ],
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    (file,) = out.rglob("results_*.json")
    found = json.loads(file.read_text())["results"]
    return {
        f"lm_eval/{task}/{key.replace(',none', '').replace(',', '.')}": value
        for task, of_task in found.items()
        for key, value in of_task.items()
        if "," in key and "_stderr" not in key
    }


def ours(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name.startswith("lm_eval/")}


NAMES = ("harbour", "pages", "spoken")


@pytest.fixture(scope="module")
def done(tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run with tasks of three kinds in every stage, a rule on one, and a way of its own."""
    run = Command(tmp_path_factory.mktemp("harness"))(
        *SMALL,
        "model.tiny.hidden_size=48",
        "evaluation.every=2",
        *option(tasks, *NAMES, better="{harbour/acc: lower}"),
        "accept.conditions=[{metric: lm_eval/pages/bits_per_byte, at_most: 1.5, of: before}]",
    )
    assert run.status == 0, run.said
    return run


@there
@pytest.mark.slow
def test_the_numbers_are_those_of_the_command_line_to_the_last_digit(
    done: Done, tasks: Path, tmp_path: Path
) -> None:
    words = ("--tasks", *NAMES, "--batch_size", "8")
    theirs = of_command_line(done.folder / "model", tasks, tmp_path, *words)
    found = ours(done.summary["metrics"]["after"])
    assert found == theirs
    assert set(found) == {
        *(f"lm_eval/harbour/{name}" for name in ("acc", "acc_norm", "brier_score")),
        *(f"lm_eval/pages/{name}" for name in ("word_perplexity", "bits_per_byte")),
        "lm_eval/spoken/exact_match.first-word",
    }
    assert found["lm_eval/pages/word_perplexity"] > 1


@there
@pytest.mark.slow
def test_under_autocast_they_are_those_of_its_mixed_precision(
    tasks: Path, unlearn: Command, tmp_path: Path
) -> None:
    run = unlearn(*QUICK, "model.autocast=bfloat16", *option(tasks, "harbour", "pages"))
    assert run.status == 0, run.said
    found = ours(run.summary["metrics"]["after"])
    words = ("--tasks", "harbour", "pages", "--batch_size", "8")
    model = run.folder / "model"
    cast = of_command_line(model, tasks, tmp_path, *words, more=",mixed_precision_dtype=bfloat16")
    assert found == cast


@there
@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["model/adapter=lora"]])
def test_the_best_state_may_be_chosen_by_a_task(
    words: list[str], tasks: Path, unlearn: Command
) -> None:
    best = ("evaluation.every=1", "evaluation.best=lm_eval/pages/bits_per_byte")
    run = unlearn(*QUICK, *words, *best, *option(tasks, "pages"))
    assert run.status == 0, run.said
    name = "lm_eval/pages/bits_per_byte"
    seen = [line[name] for line in run.lines if str(line.get("stage", "")).startswith("step_")]
    assert len(seen) == 4
    assert run.summary["metrics"]["after"][name] == pytest.approx(min(seen), rel=1e-6)


@there
@pytest.mark.slow
def test_every_stage_has_them_with_their_ways(done: Done) -> None:
    stages = done.summary["metrics"]
    assert stages.keys() >= {"before", "after", "reference"}
    assert len({stages[stage]["lm_eval/pages/bits_per_byte"] for stage in stages}) == 3
    logged = {line["stage"]: line for line in done.lines if "stage" in line}
    assert logged["step_2"]["lm_eval/pages/bits_per_byte"] > 0
    better = done.summary["better"]
    assert better["lm_eval/pages/bits_per_byte"] == "lower"
    assert better["lm_eval/harbour/acc_norm"] == "higher", "as the task declares it"
    assert better["lm_eval/harbour/acc"] == "lower", "as the command says"
    (condition,) = done.summary["verdict"]["conditions"]
    assert condition["met"] is True
    assert "`lm_eval/pages/bits_per_byte`" in (done.folder / "report.md").read_text()
    asked = done.summary["provenance"]["evaluation"]["kpis"]["lm_eval"]
    assert asked["tasks"] == list(NAMES)
    assert asked["batch_size"] == 8
    assert "it/s" not in done.said, "its bars stay away"
    assert done.warnings == []


@there
@pytest.mark.slow
def test_it_changes_no_bit_of_the_training(tasks: Path, unlearn: Command) -> None:
    words = [*QUICK, "evaluation.every=1", "method.weighting._target_=support.own_measures.Draws"]
    plain = unlearn(*words)
    measured = unlearn(*words, *option(tasks, "harbour", "spoken", rows=3))
    assert measured.status == 0, measured.said
    assert measured.weights == plain.weights
    mine = measured.summary["metrics"]["after"]
    assert {name: mine[name] for name in mine if name not in ours(mine)} == plain.summary[
        "metrics"
    ]["after"]


@there
@pytest.mark.slow
def test_rows_groups_tags_and_stars(tasks: Path, unlearn: Command) -> None:
    def names(*given: str) -> set[str]:
        run = unlearn(*QUICK, "method=none", *option(tasks, *given, rows=5))
        assert run.status == 0, run.said
        found = ours(run.summary["metrics"]["after"])
        assert all(value is not None for value in found.values())
        shares = [value * 5 for name, value in found.items() if name.endswith("/acc")]
        assert all(share == pytest.approx(round(share)) for share in shares), "of five rows"
        return {name.removeprefix("lm_eval/").partition("/")[0] for name in found}

    assert names("town") == {"town"}, "a group's own numbers, not those of its parts"
    assert names("places") == {"harbour", "market"}
    assert names("har*") == {"harbour"}


@there
@pytest.mark.slow
def test_the_example_as_it_is_written(tmp_path: Path, unlearn: Command) -> None:
    page = (ROOT / "examples" / "lm_eval" / "README.md").read_text()
    (command, *_) = [line.split() for line in page.splitlines() if line.startswith("    unlearn ")]
    shutil.copytree(ROOT / "examples" / "lm_eval", tmp_path / "examples" / "lm_eval")
    run = unlearn(*command[1:], *QUICK)
    assert run.status == 0, run.said
    assert set(ours(run.summary["metrics"]["after"])) == {
        "lm_eval/everyday/acc",
        "lm_eval/everyday/acc_norm",
    }


# What is refused before any model loads.


@there
def test_unknown_tasks_are_refused_with_what_looks_like_them(
    tasks: Path, unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.tasks import TaskManager

    def without_defaults(**options: Any) -> TaskManager:
        return TaskManager(**{**options, "include_defaults": False})  # they take most of a minute

    monkeypatch.setattr("lm_eval.tasks.TaskManager", without_defaults)
    run = unlearn(*QUICK, *option(tasks, "harbor", "nowhere_at_all"))
    assert run.status == 2
    assert "evaluation.lm_eval.tasks: 'harbor' is no task, group or tag of lm-eval" in run.said
    assert "did you mean harbour?" in run.said
    assert "'nowhere_at_all' is no task" in run.said
    path = unlearn(*QUICK, *option(tasks, str(tasks / "harbour.yaml")))
    assert path.status == 2, "a task is named, not given as a file"


def test_without_lm_eval_the_command_that_installs_it_is_told(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearn.evaluation.harness.find_spec", lambda name: None)
    run = unlearn(*QUICK, "evaluation.lm_eval.tasks=[mmlu]")
    assert run.status == 2
    assert "evaluation.lm_eval.tasks: mmlu; they need lm_eval, accelerate, peft" in run.said
    assert "pip install" in run.said


@there
def test_a_folder_that_is_not_there(unlearn: Command) -> None:
    run = unlearn(*QUICK, *option(Path("nowhere"), "harbour"))
    assert run.status == 2
    assert "evaluation.lm_eval.include_path: nowhere; allowed: a folder" in run.said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rows": 3}, "rows: 3; needs evaluation.lm_eval.tasks=[NAME]"),
        ({"include_path": "mine"}, "include_path: mine; needs evaluation.lm_eval.tasks=[NAME]"),
        ({"tasks": ["a"], "batch_size": 0}, "batch_size: 0; allowed: above 0"),
        ({"tasks": ["a"], "shots": -1}, "shots: -1; allowed: 0 or more"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        LmEvalConfig(**options)
    assert told in str(error.value)


def test_a_rule_on_a_task_that_nobody_runs(unlearn: Command) -> None:
    rule = "accept.conditions=[{metric: lm_eval/mmlu/acc, at_least: 0.4}]"
    run = unlearn(*QUICK, rule)
    assert run.status == 2
    assert "evaluation.lm_eval.tasks names no task" in run.said


def test_an_option_without_tasks_is_named_as_read_by_nothing(unlearn: Command) -> None:
    run = unlearn(*QUICK, "evaluation.lm_eval.chat=true")
    assert run.status == 0, run.said
    assert "evaluation.lm_eval.chat" in run.log
    assert "evaluation.lm_eval.tasks names no task" in run.log


def test_a_record_names_no_folder_of_tasks() -> None:
    from omegaconf import OmegaConf

    record = OmegaConf.create({"evaluation": {"lm_eval": {"include_path": "/somebodys/tasks"}}})
    with pytest.raises(ConfigurationError, match="include_path: the record names a folder"):
        require_data(record, [], None)
    require_data(record, ["evaluation.lm_eval.include_path=/somebodys/tasks"], None)
    require_data(OmegaConf.create({"evaluation": {"lm_eval": {"tasks": ["mmlu"]}}}), [], None)
