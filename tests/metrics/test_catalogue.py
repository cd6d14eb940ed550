"""The catalogue: which way is good, who says so, and what an older record leaves to it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from unlearn.metrics.catalogue import (
    GROUPS,
    OF_SPLITS,
    WHOLE,
    Catalogue,
    Metric,
    distance,
    is_way,
    order,
)

LOWER = ("forget/rougeL_recall", "forget/probability", "retain/loss", "forget_quality_D")
HIGHER = ("retain/rougeL_recall", "model_utility", "forget_quality", "forget/loss")


def test_which_way_is_good() -> None:
    catalogue = Catalogue()
    assert {catalogue[name].better for name in LOWER} == {"lower"}
    assert {catalogue[name].better for name in HIGHER} == {"higher"}
    assert catalogue["privleak"].better == 0
    # The forget rows' truth ratio is 1 where wrong and right answers look alike: TOFU's own logs
    # have 0.516 for the model that knows them and 0.674 for the one that never saw them.
    assert catalogue["forget/truth_ratio"].better == "higher"
    for metric in OF_SPLITS:
        assert catalogue[f"holdout/{metric.name}"].better is None


def test_nobody_guesses_from_a_name() -> None:
    catalogue = Catalogue()
    for name in ("wmdp_bio/probability", "kpi/toxicity", "forgotten/loss", "probability"):
        assert catalogue[name].better is None
        assert catalogue[name].words == ""


def test_a_reader_says_what_a_split_is_for() -> None:
    catalogue = Catalogue({"wmdp_bio": "forget", "mmlu": "keep", "retain": None})
    assert catalogue["wmdp_bio/probability"].better == "lower"
    assert catalogue["mmlu/probability"].better == "higher"
    assert catalogue["mmlu/probability"].group == "mmlu"
    assert catalogue["retain/probability"].better is None
    catalogue.declare_quiz("wmdp_bio/cloze")
    catalogue.declare_quiz("retain/cloze")
    assert catalogue["wmdp_bio/cloze"].better == "lower"
    assert catalogue["retain/cloze"].better is None


def test_a_record_says_more_than_the_package() -> None:
    own = Catalogue({"wmdp_bio": "forget"})
    own.declare(Metric("kpi/toxicity", "lower", group="kpi"))
    stages = {"before": ["wmdp_bio/probability", "kpi/toxicity", "kpi/size"], "reference": None}
    ways = own.better(stages)
    assert ways == {"kpi/toxicity": "lower", "wmdp_bio/probability": "lower"}
    read = Catalogue.recorded({"better": ways})
    assert read["kpi/toxicity"].words == read["wmdp_bio/probability"].words == "lower"
    assert read["kpi/size"].words == ""
    older = Catalogue.recorded({"metrics": {}})
    assert older["forget/probability"].better == "lower"


@pytest.mark.parametrize("better", [None, [], "lower", {"privleak": ["lower"], "mia_loss": "x"}])
def test_a_record_of_somebody_else_may_hold_anything(better: object) -> None:
    read = Catalogue.recorded({"better": better})
    assert read["privleak"].better == 0
    assert read["mia_loss"].words == "as reference"


def test_distance_is_less_for_what_is_better() -> None:
    assert distance("lower", 1.0) < distance("lower", 2.0)
    assert distance("higher", 2.0) < distance("higher", 1.0)
    assert distance(0.5, 0.25) == distance(0.5, 0.75) < distance(0.5, 0.9)
    for way in (None, "reference"):
        with pytest.raises(ValueError, match="no value is better"):
            distance(way, 1.0)


@pytest.mark.parametrize("name", ["forget/rougeL_recall", "forget/loss", "mia_loss", "forget/mine"])
def test_what_shows_forgetting_is_best_as_the_references(name: str) -> None:
    catalogue = Catalogue.recorded({"better": {"forget/mine": "lower"}})
    metric = catalogue[name].beside(0.3)
    assert metric.distance(0.3) == 0
    assert metric.distance(0.3 + 0.2) == pytest.approx(metric.distance(0.3 - 0.2))
    assert metric.distance(0.05) > metric.distance(0.1)
    assert catalogue[name].words_beside(0.3) == "as reference"


def test_without_a_reference_lower_is_better_down_to_the_floor() -> None:
    metric = Catalogue()["forget/rougeL_recall"]
    for reference in (None, float("nan")):
        alone = metric.beside(reference)
        assert alone.distance(0.0) == alone.distance(0.1) == 0.1 < alone.distance(0.2)
        assert alone.words == "lower"
    assert Catalogue()["retain/rougeL_recall"].floor is None
    assert Catalogue()["mia_loss"].beside(None).distance(0.3) == pytest.approx(0.2)
    assert Catalogue()["mia_loss"].words_beside(None) == "near 0.5"
    assert Catalogue()["attack/x"].words_beside(None) == "as reference"


@pytest.mark.parametrize(
    "name", ["retain/rougeL_recall", "model_utility", "forget_quality", "forget/repetition"]
)
def test_what_does_not_show_forgetting_is_read_alone(name: str) -> None:
    metric = Catalogue()[name]
    assert metric.beside(0.3) == metric


def test_what_is_a_way() -> None:
    assert all(map(is_way, (None, "higher", "lower", "reference", 0, 0.5)))
    assert not any(map(is_way, ("min", True, float("nan"), [], {})))


def test_names_are_declared_once_and_shown_as_declared() -> None:
    names = [metric.name for metric in (*OF_SPLITS, *WHOLE)]
    assert len(names) == len(set(names))
    assert {metric.group for metric in WHOLE} <= set(GROUPS)
    assert order(["a/loss", "model_utility", "a/probability", "b/knowmem", "a/mine"]) == [
        "model_utility",
        "b/knowmem",
        "a/probability",
        "a/loss",
        "a/mine",
    ]


def test_it_is_free_of_torch_and_tables() -> None:
    code = (
        "import sys, unlearn.metrics.catalogue\n"
        "assert not {'torch', 'pandas', 'numpy', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
