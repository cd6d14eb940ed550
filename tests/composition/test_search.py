"""A search: what the run tells the sweeper, and that Optuna's front is that of the folders."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from omegaconf import OmegaConf
from support.command import QUICK, Command

from unlearn.composition.search import check_objective, objective_values, require_objective
from unlearn.errors import ConfigurationError
from unlearn.options.parts import Problems
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
