"""Attacks as a part of a run: their numbers in every record, and what is refused beforehand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.checker import checker
from support.command import QUICK, SMALL, Command, Done, entries_in, row, write_rows
from support.refusals import files, refused

from unlearn.attacks import Attack, Found, Sampling, Subject, metric_names
from unlearn.attacks import Paraphrase as OurParaphrase
from unlearn.record.sink import Sink

pytestmark = [pytest.mark.slow, pytest.mark.trains]

NAMES = (
    *("relearning", "quantization", "paraphrase", "probing"),
    *("sampling", "prompts", "depth", "pruning", "noise"),
)
"""Those that give a share."""
ALL = f"attack=[{','.join(NAMES)},fluency]"
FAST = (
    "attack.relearning.rows=3",
    "attack.relearning.steps=4",
    "attack.quantization.method=round_to_nearest",
    "attack.sampling.samples=4",
    "attack.sampling.k=[1,4]",
    "attack.prompts.shots=1",
)
LEARNT = (*SMALL, "model.fine_tuning.epochs=60", "model.fine_tuning.lr=1e-2")
"""A small run whose target does know its rows."""


@dataclass
class Constant(Attack):
    """A user's own attack: always the same share; `length` is the number of its forget rows."""

    share: float = 0.5
    changes_weights = False

    def names(self) -> list[str]:
        return ["length"]

    def run(self, subject: Subject) -> Found:
        return Found(self.share, {"length": float(len(subject.splits.forget))}, ["as told"])


@dataclass
class Fails(Attack):
    """A user's own attack with a mistake in it."""

    def run(self, subject: Subject) -> Found:
        subject.model.lm_head.weight.data.zero_()
        raise ZeroDivisionError("a mistake")


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attacked")


@pytest.fixture(scope="module")
def seen() -> list[tuple[int, dict[str, Any]]]:
    """What the tracker of the run below was given."""
    return []


@pytest.fixture(scope="module")
def attacked(module_folder: Path, seen: list[Any]) -> Iterator[Done]:
    """A run with every attack, judged by what they found."""

    class Keeps(Sink):
        def log(self, step: int, values: Any) -> None:
            seen.append((step, dict(values)))

        def finish(self, summary: Any, *, failed: bool = False) -> None:
            seen.append((-1, dict(summary)))

    conditions = (
        "{metric: attack/paraphrase, at_most: 1},"
        "{metric: attack/probing_probability, at_least: 2, of: reference},"
        "{metric: attack/quantization_int4_probability, at_most: 1}"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unlearn.experiment.run.make_sink", lambda *_, **__: Keeps())
        done = Command(module_folder)(
            *LEARNT, ALL, *FAST, f"accept.conditions=[{conditions}]", figures=True
        )
    assert done.status == 0, done.said
    yield done


def test_every_record_has_the_attacks(attacked: Done, seen: list[Any]) -> None:
    assert checker().check(attacked.folder) == []
    metrics = attacked.summary["metrics"]
    for stage in ("after", "reference"):
        found = {k: v for k, v in metrics[stage].items() if k.startswith("attack/")}
        assert {f"attack/{name}" for name in NAMES} < set(found)
        path = attacked.folder / "evaluations" / stage / "metrics.json"
        assert json.loads(path.read_text()) == metrics[stage]
        lines = [x for x in attacked.lines if "attack/probing" in x and x["stage"] == stage]
        assert lines == [{"step": 4, "stage": stage, **found}]
        sent = [v for _, v in seen if v.get("stage") == stage and "attack/probing" in v]
        assert sent == [{"stage": stage, **found}]
    assert not any(name.startswith("attack/") for name in metrics["before"])
    assert seen[-1][1]["attack/probing"] == metrics["after"]["attack/probing"]
    assert attacked.summary["attacks"]["names"] == [*NAMES, "fluency"]


def test_every_detail_says_which_way_is_good(attacked: Done) -> None:
    better = attacked.summary["better"]
    assert better["attack/depth_score"] == 1
    assert better["attack/noise_percent_10_retain_probability"] == "higher"
    assert better["attack/fluency_retain_perplexity"] == "lower"
    assert better["attack/sampling_leak_at_4"] == better["attack/depth"] == "reference"
    reference = attacked.summary["metrics"]["reference"]
    assert (reference["attack/depth"], reference["attack/depth_score"]) == (0, 1)
    assert reference["attack/fluency_perplexity"] > 1


def test_shares_are_what_they_are_made_of(attacked: Done) -> None:
    """The quotient of the metrics that the stages give anyway."""
    metrics = attacked.summary["metrics"]
    before = metrics["before"]["forget/probability"]
    assert before > 0.5, "the target knows its rows"
    for stage in ("after", "reference"):
        flat = metrics[stage]
        after = flat["forget/probability"]
        best = max(flat[f"attack/quantization_int{bits}_probability"] for bits in (8, 4))
        for name, x in (("quantization", best), ("probing", flat["attack/probing_probability"])):
            share = min(1.0, max(0.0, (x - after) / (before - after)))
            assert flat[f"attack/{name}"] == pytest.approx(share)


def test_report_and_terminal_ask_whether_it_is_gone(attacked: Done) -> None:
    page = (attacked.folder / "report.md").read_text(encoding="utf-8")
    section = page.split("## Is it really gone?")[1].split("\n## ")[0]
    assert "| recovered share under | after | reference |" in section
    for name in NAMES:
        assert f"| {name} |" in section
        assert attacked.out.count(f"{name}: recovered share") == 1
    assert "fluency: recovered share" not in attacked.out and "| fluency |" not in section
    assert "after: attack/fluency: forget: perplexity" in section
    assert "answers at temperature 1" in section
    assert "Most came back under" in section
    assert "round-to-nearest" in section
    assert "`attack/relearning_rougeL_recall`" in page, "the details are in the table of metrics"


def test_attacks_are_judged(attacked: Done) -> None:
    verdict = attacked.summary["verdict"]["conditions"]
    after, reference = (attacked.summary["metrics"][s] for s in ("after", "reference"))
    assert verdict[0]["value"] == after["attack/paraphrase"]
    assert verdict[0]["met"] is (after["attack/paraphrase"] is not None)
    assert verdict[1]["bound"] == pytest.approx(2 * reference["attack/probing_probability"])
    assert verdict[2]["met"] is True


def test_attacks_change_nothing_else(attacked: Done, unlearn: Command) -> None:
    plain = unlearn(*LEARNT, figures=True)
    assert plain.weights == attacked.weights
    assert [{**x, "seconds": 0} for x in plain.steps] == [
        {**x, "seconds": 0} for x in attacked.steps
    ]
    for stage, flat in plain.summary["metrics"].items():
        theirs = attacked.summary["metrics"][stage]
        assert flat == {k: v for k, v in theirs.items() if not k.startswith("attack/")}
    assert plain.summary["attacks"] == {}
    assert "really gone" not in (plain.folder / "report.md").read_text(encoding="utf-8")


def test_another_run_of_the_same_models_attacks_its_own_alone(
    attacked: Done, unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[str] = []
    run = Sampling.run

    def noted(self: Sampling, subject: Subject) -> Found:
        stages.append(subject.stage)
        return run(self, subject)

    monkeypatch.setattr(Sampling, "run", noted)
    options = [word for word in FAST if word.startswith("attack.sampling")]
    done = unlearn(*LEARNT, "attack=[sampling]", *options, "training.steps=2")
    assert done.status == 0, done.said
    assert stages == ["after"]
    found = done.summary["metrics"]["reference"]
    first = attacked.summary["metrics"]["reference"]
    of_sampling = {k: v for k, v in first.items() if k.startswith("attack/sampling")}
    assert of_sampling and of_sampling.items() <= found.items()
    said = done.summary["attacks"]["notes"]["reference"]
    assert set(said) <= set(attacked.summary["attacks"]["notes"]["reference"])


def test_a_saved_model_is_attacked_as_in_its_run(attacked: Done, unlearn: Command) -> None:
    model = attacked.summary["model"]
    saved = (
        "method=none",
        f"model.path={attacked.folder / 'model'}",
        f"reference={model['reference']['path']}",
    )
    words = (*LEARNT, ALL, *FAST, "attack.relearning.lr=1e-2")
    done = unlearn(*words, *saved, f"attack_before={model['target']['path']}")
    assert done.status == 0, done.said
    for stage in ("after", "reference"):
        was = attacked.summary["metrics"][stage]
        now = done.summary["metrics"][stage]
        for name, value in was.items():
            wanted = None if value is None else pytest.approx(value, rel=1e-4, abs=1e-9)
            assert now[name] == wanted, name
    alone = unlearn(*words, *saved)
    after = alone.summary["metrics"]["after"]
    assert all(after[f"attack/{name}"] is None for name in NAMES)
    assert after["attack/relearning_probability"] == pytest.approx(
        attacked.summary["metrics"]["after"]["attack/relearning_probability"], rel=1e-4
    )
    assert alone.said.count("attack_before=PATH") >= 1


def test_a_users_own_attacks(unlearn: Command, tmp_path: Path) -> None:
    """By `_target_`, and as a choice of a folder of their own; one of them has a mistake."""
    (tmp_path / "mine" / "attack").mkdir(parents=True)
    (tmp_path / "mine" / "attack" / "constant.yaml").write_text(
        "constant:\n  _target_: test_attacks_run.Constant\n  share: 0.25\n"
    )
    done = unlearn(
        "--config-dir=mine",
        *QUICK,
        "attack=[constant]",
        "attack.constant.share=0.75",
        "+attack.wrong._target_=test_attacks_run.Fails",
        "accept.conditions=[{metric: attack/constant_length, at_least: 8},"
        "{metric: attack/wrong, at_most: 1}]",
    )
    assert done.status == 0, done.said
    after = done.summary["metrics"]["after"]
    assert after["attack/constant"] == 0.75
    assert after["attack/constant_length"] == 8
    assert after["attack/wrong"] is None
    assert [c["met"] for c in done.summary["verdict"]["conditions"]] == [True, False]
    page = (done.folder / "report.md").read_text(encoding="utf-8")
    assert "failed (ZeroDivisionError: a mistake)" in page
    assert done.log.count("attack wrong failed; the other results stand") == 1


REFUSED = {
    "no such attack": (["attack=[nope]"], ["attack=[nope]", "any of depth, fluency,"]),
    "option of one not chosen": (["attack.probing.x=1"], ["attack.probing: nothing", "[probing]"]),
    "option": (["attack=[probing]", "+attack.probing.x=1"], ["attack.probing.x: no such option"]),
    "numbers": (
        [ALL, "attack.relearning.rows=0", "attack.relearning.lr=-1", "training.steps=-1"],
        ["attack.relearning.rows: 0", "attack.relearning.lr: -1.0", "training.steps: -1"],
    ),
    "type": ([ALL, "attack.relearning.steps=few"], ["attack.relearning.steps: ", "'few'"]),
    "bits": ([ALL, "attack.quantization.bits=[9]"], ["attack.quantization.bits: 9", "2 to 8"]),
    "library": (
        [ALL, "attack.quantization.method=gptq"],
        ["attack.quantization.method: 'gptq'", "auto, torchao, round_to_nearest"],
    ),
    "other class": (
        ["+attack.mine._target_=unlearn.weightings.NGDiff"],
        ["attack.mine._target_: ", "a subclass of unlearn.attacks.base.Attack"],
    ),
    "no class": (["+attack.mine.steps=3"], ["attack.mine._target_: not set"]),
    "name": (
        ["+attack.my-own._target_=unlearn.attacks.Probing"],
        ["attack: 'my-own' is no name for metrics"],
    ),
    "all rows": (
        ["attack=[relearning]", "attack.relearning.rows=8"],
        ["attack.relearning.rows: 8 leaves none of the 8", "1 to 7"],
    ),
    "all rows, which evaluation.rows never cuts": (
        ["attack=[relearning]", "attack.relearning.rows=8", "evaluation.rows=4"],
        ["attack.relearning.rows: 8 leaves none of the 8"],
    ),
    "no paraphrases, too few rows": (
        [*files("other.jsonl"), ALL],
        ["attack.relearning.rows: 8 leaves", "attack.paraphrase: 2 of 2 scored forget rows have"],
    ),
    "misspelt metric": (
        [ALL, "accept.conditions=[{metric: attack/relearnin, at_most: 1}]"],
        ["accept.conditions[0].metric: 'attack/relearnin' is not measured"],
    ),
    "attack not chosen": (
        ["attack=[probing]", "accept.conditions=[{metric: attack/relearning, at_most: 1}]"],
        ["accept.conditions[0].metric: 'attack/relearning' is not measured", "attack/probing,"],
    ),
    "relative to before": (
        [ALL, "accept.conditions=[{metric: attack/probing, at_most: 1, of: before}]"],
        ["accept.conditions[0].of: before", "allowed here: reference"],
    ),
    "a second target": (
        [ALL, "attack_before=./no_model"],
        ["attack_before: './no_model' is for method=none"],
    ),
    "a target for nothing": (
        ["method=none", "attack_before=./nowhere"],
        ["attack_before: './nowhere', but no attack is chosen"],
    ),
    "a target that is nowhere": (
        ["method=none", ALL, "attack_before=./nowhere"],
        ["attack_before: './nowhere' does not exist"],
    ),
    "a target that is no model": (
        ["method=none", ALL, "attack_before=./no_model"],
        ["holds no config.json"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_model(
    case: str, unlearn: Command, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides, fragments = REFUSED[case]
    write_rows(unlearn.folder / "good.jsonl", [row("Who?", "Ada."), row("When?", "In spring.")])
    write_rows(unlearn.folder / "other.jsonl", [row("Where?", "At sea."), row("Why?", "For tea.")])
    (unlearn.folder / "no_model").mkdir()

    def no_model(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was made")

    monkeypatch.setattr("transformers.PreTrainedModel.__init__", no_model)
    before = entries_in(empty_cache)
    own_data = any(word.startswith("data=") for word in overrides)
    small = [word for word in SMALL if not (own_data and word.startswith("data"))]
    refused(unlearn(*small, *overrides), empty_cache, before, *fragments)


def test_ours_know_their_names_by_any_name() -> None:
    assert metric_names({"other_words": OurParaphrase()})[0] == "attack/other_words"
