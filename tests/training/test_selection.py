"""The best state, patience, and stopping at an acceptance rule."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from support.command import QUICK, Command

from unlearn.training.selection import Watch, distance, lower_is_better

LOWER = ("forget/rougeL_recall", "forget/probability", "retain/loss", "forget_quality_D")
HIGHER = ("retain/rougeL_recall", "model_utility", "forget_quality", "forget/loss", "kpi/passed")


def test_which_way_is_good() -> None:
    assert all(map(lower_is_better, LOWER))
    assert not any(map(lower_is_better, HIGHER))
    assert distance("privleak", -3.0) == distance("privleak", 3.0) < distance("privleak", -90.0)
    assert distance("retain/loss", 1.0) < distance("retain/loss", 2.0)
    assert distance("model_utility", 0.6) < distance("model_utility", 0.5)


def test_the_first_of_equals_is_the_best_and_patience_counts_the_rest() -> None:
    watch = Watch("model_utility", "higher", patience=2)
    values = [0.5, 0.7, 0.7, None, 0.8, 0.1]
    better = [watch.saw(step, {"model_utility": v}) for step, v in enumerate(values, start=1)]
    assert better == [True, True, False, False, True, False]
    assert (watch.best_step, watch.best_value, watch.waited, watch.tired) == (5, 0.8, 1, False)
    assert not watch.saw(7, {})
    assert watch.tired


def test_a_watch_goes_on_from_its_state() -> None:
    one, other = Watch("model_utility", "higher", 3), Watch("model_utility", "higher", 3)
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
    words = (*QUICK, *EVERY, "optimizer.lr=1e-2", "scheduler=constant", "training.steps=40")
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


def test_a_best_that_is_not_measured_is_refused_before_training(unlearn: Command) -> None:
    done = unlearn(*QUICK, "evaluation.every=1", "evaluation.best=model_utilty")
    assert done.status == 2
    assert done.said.count("evaluation.best: 'model_utilty' is not measured here") == 1
    assert not done.steps
