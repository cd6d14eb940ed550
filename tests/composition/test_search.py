"""A search: what the run tells the sweeper, and that Optuna's front is that of the folders."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from support.command import QUICK, Command
from support.fabricated_sweep import fabricate_job

from unlearn.composition.search import (
    check_objective,
    objective_values,
    require_minimised,
    require_objective,
)
from unlearn.errors import ConfigurationError
from unlearn.metrics.catalogue import Catalogue
from unlearn.options.parts import Problems
from unlearn.report.comparison import compare
from unlearn.report.front import pareto_front

PLANE = ["forget/probability", "retain/probability"]


def summary(**after: float | None) -> dict[str, Any]:
    return {"metrics": {"before": {"a": 9.0}, "after": after}}


def test_the_values_are_those_after_unlearning_in_the_order_of_the_objective() -> None:
    assert objective_values(["b", "a"], summary(a=1.0, b=2.0, c=3.0)) == [2.0, 1.0]
    assert objective_values(["a"], summary(a=1.0)) == 1.0, "one objective is no list to Optuna"
    assert objective_values(None, summary(a=1.0)) is None


def test_what_has_no_value_is_nan_which_fails_the_trial() -> None:
    values = objective_values(["a", "b", "c"], summary(a=1.0, b=None))
    assert isinstance(values, list)
    assert values[0] == 1.0
    assert math.isnan(values[1])
    assert math.isnan(values[2])


def test_a_forget_metric_is_told_as_its_distance_from_the_reference() -> None:
    after = {"forget/loss": 5.0, "forget/rougeL_recall": 0.02, "retain/rougeL_recall": 0.9}
    after |= {"privleak": -20.0, "mia_loss": 0.4, "forget_quality": 0.3}
    record = summary(**after)
    record["metrics"]["reference"] = {"forget/loss": 3.5, "forget/rougeL_recall": 0.318}
    names = [*after]
    assert objective_values(names, record) == pytest.approx([1.5, 0.298, 0.9, 20.0, 0.1, 0.3])
    # A run at 0.616 is as far from the reference as that which babbles at 0.02.
    record["metrics"]["after"]["forget/rougeL_recall"] = 0.616
    assert objective_values(["forget/rougeL_recall"], record) == pytest.approx(0.298)
    # Without a reference: as it is, but no better below the floor.
    record["metrics"]["reference"] = None
    told = {0.02: 0.1, 0.1: 0.1, 0.3: 0.3}
    for value, expected in told.items():
        record["metrics"]["after"]["forget/rougeL_recall"] = value
        assert objective_values(["forget/rougeL_recall"], record) == expected
    assert objective_values(["forget/loss"], record) == 5.0


def test_the_distance_is_that_which_the_comparison_draws(tmp_path: Path) -> None:
    fabricate_job(tmp_path / "0-x", "method=x", forget=0.05)
    record = json.loads((tmp_path / "0-x" / "summary.json").read_text())
    (section,) = compare([tmp_path]).sections
    told = objective_values(["forget/rougeL_recall", "retain/rougeL_recall"], record)
    assert told == pytest.approx(list(section.planes[0].points[0]))


def test_a_distance_is_not_maximised(monkeypatch: pytest.MonkeyPatch) -> None:
    directions = ["maximize", "maximize"]
    monkeypatch.setattr("unlearn.composition.search._directions", lambda: directions)
    names = ["forget/loss", "retain/rougeL_recall"]
    require_minimised(names, Catalogue(), reference=False)
    with pytest.raises(ConfigurationError, match=r"objective: forget/loss is told as its distance"):
        require_minimised(names, Catalogue(), reference=True)
    with pytest.raises(ConfigurationError, match=r"privleak is told .* \(near 0\)"):
        require_minimised(["privleak"], Catalogue(), reference=False)
    directions[0] = "minimize"
    require_minimised(names, Catalogue(), reference=True)


@pytest.mark.parametrize(
    ("names", "right"),
    [
        (None, True),
        (["a"], True),
        (["a", "b"], True),
        ([], False),
        (["a", "a"], False),
        ([" "], False),
    ],
)
def test_an_objective_names_each_metric_once(names: list[str] | None, right: bool) -> None:
    problems = Problems()
    check_objective(names, problems)
    assert (problems.found == []) == right


def test_an_unknown_metric_is_told_before_training() -> None:
    require_objective(None, {})
    require_objective(["a"], {"a": None})
    with pytest.raises(ConfigurationError, match=r"objective: b is not measured here; .* a"):
        require_objective(["a", "b"], {"a": 1.0})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["objective=[forget/loss]"], "objective: 1 metrics, but hydra.sweeper.direction has 2"),
        (["objective=null"], "objective: 0 metrics, but hydra.sweeper.direction has 2"),
        (["objective=[forget/los,retain/loss]"], "objective: forget/los is not measured here"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # optuna's own, of old Python and SQLAlchemy
def test_a_wrong_objective_is_told_and_ends_in_failed_trials(
    words: list[str], told: str, unlearn: Command
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    words = ["experiment=search", *QUICK, "method=ngdiff", *words, "hydra.sweeper.n_trials=1"]
    done = unlearn("-m", *words)
    assert told in done.said
    assert done.status == 0, "a failed trial does not end a search"
    assert OmegaConf.load(done.folder / "optimization_results.yaml").solutions == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # optuna's own, of old Python and SQLAlchemy
def test_a_search_with_two_objectives_ends_with_the_front_of_its_folders(
    unlearn: Command,
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    words = [
        "experiment=search",
        *(word for word in QUICK if not word.startswith("training.steps")),
        "method=choice(ngdiff,linear,npo)",  # ngdiff_bounded needs a reference
        f"objective=[{','.join(PLANE)}]",
        "training.steps=choice(1,2,4)",
        "optimizer.lr=tag(log,interval(1e-4,1e-1))",
        "hydra.sweeper.n_trials=12",  # eight random ones, then those of the sampler
    ]
    done = unlearn("-m", *words)
    assert done.status == 0, done.said

    folders = sorted(done.folder.glob("*/summary.json"))
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folders]
    assert len(records) == 12
    assert {record["status"] for record in records} == {"completed"}
    points = [tuple(record["metrics"]["after"][name] for name in PLANE) for record in records]
    front = sorted(points[index] for index in pareto_front(points))
    solutions = OmegaConf.load(done.folder / "optimization_results.yaml").solutions
    assert sorted(tuple(solution["values"]) for solution in solutions) == front
    assert 1 <= len(set(front)) < len(set(points)), "some trials are dominated, and some are not"
    assert f"Number of Pareto solutions: {len(front)}" in done.said

    # Cut and started again, the seeded sampler asks for the same trials: finished ones are not run.
    before = {path: path.stat().st_mtime_ns for path in folders}
    again = unlearn("-m", *words[:-1], "hydra.sweeper.n_trials=4", run=done.folder)
    assert again.status == 0, again.said
    assert again.said.count("this run is complete already") == 4
    assert {path: path.stat().st_mtime_ns for path in folders} == before
