"""The best state, patience, and stopping at an acceptance rule."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from support.command import QUICK, Command, Done

from unlearn.training.selection import BestCheckpoint

pytestmark = [pytest.mark.slow, pytest.mark.trains]


def test_near_a_number_is_good_from_both_sides() -> None:
    watch = BestCheckpoint("privleak", 0.0)
    values = [-90.0, 40.0, -3.0, 3.0]
    better = [watch.saw(step, {"privleak": value}) for step, value in enumerate(values)]
    assert better == [True, True, True, False]


def test_the_first_of_equals_is_the_best_and_patience_counts_the_rest() -> None:
    watch = BestCheckpoint("model_utility", "higher", patience=2)
    values = [0.5, 0.7, 0.7, None, 0.8, 0.1]
    better = [watch.saw(step, {"model_utility": v}) for step, v in enumerate(values, start=1)]
    assert better == [True, True, False, False, True, False]
    assert (watch.best_step, watch.best_value, watch.waited, watch.out_of_patience) == (
        5,
        0.8,
        1,
        False,
    )
    assert not watch.saw(7, {})
    assert watch.out_of_patience


def test_a_watch_goes_on_from_its_state() -> None:
    one, other = (
        BestCheckpoint("model_utility", "higher", 3),
        BestCheckpoint("model_utility", "higher", 3),
    )
    one.saw(1, {"model_utility": 0.4})
    one.saw(2, {"model_utility": float("nan")})
    other.load_state_dict(one.state_dict())
    assert other == one


EVERY = ("evaluation.every=2", "training.steps=6", "evaluation.rows=4")


def test_the_run_ends_with_the_best_state(unlearn: Command) -> None:
    """Ascent alone damages the rest more at every step, so the first evaluation is the best."""
    words = (*QUICK, *EVERY, "method=ga", "optimizer.lr=1e-3", "scheduler=constant")
    best = unlearn(*words, "evaluation.best=retain/probability")
    assert best.status == 0, best.said
    told = best.summary["training"]["best"]
    staged = {line["step"]: line for line in best.lines if "stage" in line}
    found = {step: staged[step]["retain/probability"] for step in (2, 4)}
    found[6] = next(
        line["retain/probability"] for line in best.lines if line.get("stage") == "step_6"
    )
    assert told["step"] == max(found, key=lambda step: found[step]) != 6
    assert told["value"] == max(found.values())
    assert best.summary["metrics"]["after"]["retain/probability"] == told["value"]
    short = unlearn(*words, f"training.steps={told['step']}", "scheduler=constant")
    ours = load_file(best.folder / "model" / "model.safetensors")
    theirs = load_file(short.folder / "model" / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not (best.folder / "checkpoints").exists()


def test_patience_ends_a_run(unlearn: Command) -> None:
    """Under ascent alone: it only falls, whatever a processor rounds."""
    words = (*QUICK, *EVERY, "method=ga", "optimizer.lr=1e-2", "scheduler=constant")
    words += ("training.steps=40", "training.until=null")
    done = unlearn(*words, "evaluation.best=retain/probability", "evaluation.patience=2")
    assert done.status == 0, done.said
    training = done.summary["training"]
    assert training["reason"] == "no better retain/probability in 2 evaluations"
    assert training["steps"] == training["best"]["step"] + 4 < 40


def test_a_run_stops_at_the_first_state_that_is_accepted(unlearn: Command) -> None:
    rule = "accept.conditions=[{metric: forget/loss, at_least: 1.02, of: before}]"
    words = (*QUICK, *EVERY, "training.steps=40", "optimizer.lr=1e-3", "scheduler=constant")
    done = unlearn(*words, rule, "evaluation.stop_when_accepted=true")
    assert done.status == 0, done.said
    assert done.summary["training"]["reason"] == "the acceptance conditions are met"
    assert done.summary["training"]["steps"] < 40
    assert done.summary["verdict"]["accepted"] is True
    bound = done.summary["verdict"]["conditions"][0]["bound"]
    earlier = [line for line in done.lines if str(line.get("stage", "")).startswith("step_")]
    assert [line["forget/loss"] >= bound for line in earlier][:-1] == [False] * (len(earlier) - 1)


def test_evaluations_by_epochs(unlearn: Command) -> None:
    done = unlearn(*QUICK, "evaluation.every=1", "evaluation.unit=epochs")  # 8 rows, batches of 4
    assert [line["stage"] for line in done.lines if "stage" in line] == [
        "before",
        "step_2",
        "after",
    ]


ASCENT = (*QUICK, *EVERY, "method=ga", "optimizer.lr=1e-3", "scheduler=constant")
HAZARDS = ("data._target_=support.own_readers.Hazards", "~data.forget_rows", "~data.retain_rows")
HAZARDS = (*HAZARDS, *(f"~data.{name}" for name in ("subset", "seed", "retain_scored")))
TOXIC = "evaluation.kpis={mine: {_target_: support.own_measures.%s%s}}"


def chosen(done: Done) -> tuple[int, dict[int, float]]:
    """The step of the best state, and the value at each step."""
    assert done.status == 0, done.said
    told = done.summary["training"]["best"]
    stages = [line for line in done.lines if str(line.get("stage", "")).startswith("step_")]
    return told["step"], {line["step"]: line[told["metric"]] for line in stages}


def test_the_best_state_of_a_foreign_split_is_the_one_that_forgot_most(unlearn: Command) -> None:
    """Guessed from its name, the best was the state that kept most."""
    best, found = chosen(unlearn(*ASCENT, *HAZARDS, "evaluation.best=wmdp_bio/probability"))
    assert found[best] == min(found.values()) < max(found.values())


@pytest.mark.parametrize(
    ("measure", "more"),
    [
        (TOXIC % ("Toxicity", ", better: lower"), []),
        (TOXIC % ("Toxicity", ", better: {toxicity: lower}"), []),
        (TOXIC % ("KnowsItsWay", ""), []),
        (TOXIC % ("Toxicity", ""), ["evaluation.mode=min"]),
        (TOXIC % ("Toxicity", ", better: 0"), []),
    ],
)
def test_the_best_by_a_measure_is_as_it_declares(
    unlearn: Command, measure: str, more: list[str]
) -> None:
    """Guessed from its name, the best was the worst of three."""
    done = unlearn(*QUICK, *EVERY, measure, "evaluation.best=kpi/toxicity", *more)
    best, found = chosen(done)
    assert found == {2: 0.9, 4: 0.1, 6: 0.4}
    assert best == 4
    assert done.summary["better"].get("kpi/toxicity") == (
        None if more else 0 if "better: 0" in measure else "lower"
    )


REFUSED = {
    "a foreign split": (
        [*HAZARDS, "+data.declared=false", "evaluation.best=wmdp_bio/probability"],
        "nobody said which way is good for wmdp_bio/probability; say evaluation.mode=min or "
        "evaluation.mode=max",
    ),
    "a measure": (
        [TOXIC % ("Toxicity", ""), "evaluation.best=kpi/toxicity"],
        "nobody said which way is good for kpi/toxicity; say evaluation.mode=min or "
        "evaluation.mode=max, or the measure",
    ),
    "a split that nobody has seen": (["evaluation.best=holdout/loss"], "nobody said which way"),
    "an AUC": (["evaluation.best=mia_loss"], "nobody said which way is good for mia_loss"),
    "an attack": (
        ["attack=[quantization]", "evaluation.best=attack/quantization"],
        "evaluation.best: attack/quantization is measured after the training",
    ),
    "a contradiction": (
        ["evaluation.best=forget/probability", "evaluation.mode=max"],
        "evaluation.mode: max, but forget/probability is declared better lower",
    ),
    "a way beside a number": (
        ["reference=train", "evaluation.best=privleak", "evaluation.mode=min"],
        "evaluation.mode: min, but privleak is declared better near 0",
    ),
    "a mode of nothing": (["evaluation.mode=max"], "evaluation.mode: max; needs evaluation.best"),
    "a way that is none": (
        [TOXIC % ("Toxicity", ", better: smaller")],
        "better: 'smaller'; allowed: higher, lower, reference, a number that is best",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_best_without_a_way_is_refused_before_any_model(unlearn: Command, what: str) -> None:
    words, told = REFUSED[what]
    done = unlearn(*QUICK, *EVERY, *words)
    assert done.status == 2
    assert told in done.said
    assert "device:" not in done.log
    assert "Traceback" not in done.said


def test_a_name_that_no_measure_gave_is_refused_before_training(unlearn: Command) -> None:
    measure = TOXIC % ("Toxicity", ", better: lower")
    done = unlearn(*QUICK, *EVERY, measure, "evaluation.best=kpi/toxicty")
    assert done.status == 2
    assert "evaluation.best: 'kpi/toxicty' is not measured here" in done.said
    assert not done.steps


WRONG = {
    "evaluation.best=model_utility": "evaluation.best: model_utility; needs evaluation.every",
    "evaluation.patience=3": "evaluation.patience: 3; allowed: 1 or more evaluations, together",
    "evaluation.stop_when_accepted=true": "needs accept.conditions",
    "training.checkpoint_minutes=0": "training.checkpoint_minutes: 0.0; allowed: above 0",
    "evaluation.unit=years": "steps, epochs",
}


@pytest.mark.parametrize("option", WRONG)
def test_options_that_cannot_be_followed(unlearn: Command, option: str) -> None:
    done = unlearn(*QUICK, option)
    assert done.status == 2
    assert WRONG[option] in done.said
    assert "Traceback" not in done.said


def test_a_best_that_is_not_measured_is_refused_before_any_model(unlearn: Command) -> None:
    done = unlearn(*QUICK, "evaluation.every=1", "evaluation.best=model_utilty")
    assert done.status == 2
    assert done.said.count("evaluation.best: 'model_utilty' is not measured here") == 1
    assert "device:" not in done.log
