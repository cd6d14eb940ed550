"""Every method of conf/method/ as a person runs it, and mixtures that no file names."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from support.command import QUICK, SMALL, Command, write_rows

from benchmarks.methods import ALTERNATIVES, method_names
from unlearn.attacks import Probing
from unlearn.data.minitofu import MiniTofu
from unlearn.objectives import Ascent
from unlearn.options.beside import Beside
from unlearn.schedulers import Constant
from unlearn.weightings import Linear

FIVE_STEPS = (*QUICK, "training.steps=5")
NEEDS_REFERENCE = {"ngdiff_bounded"}
GRID = {
    "method/weighting": ("linear", "pcgrad"),
    "method/forget": ("npo", "idk"),
    "method/retain": ("nll", "kl"),
}
"""Parts of every kind: rows as they are and others, with and without the target's outputs."""


@pytest.fixture(scope="module")
def alternatives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another answer to each forget question, as dpo and alternatives want them."""
    forget = MiniTofu(subset="forget10", forget_rows=8, retain_rows=16).read().forget
    rows = [{"question": row.question, "answer": row.perturbed_answers[0]} for row in forget]
    return write_rows(tmp_path_factory.mktemp("data") / "alternatives.jsonl", rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", method_names())
def test_five_steps_of_every_method(unlearn: Command, alternatives: Path, name: str) -> None:
    words = [*FIVE_STEPS, f"method={name}"]
    if name in ALTERNATIVES:
        words.append(f"method.forget.alternatives={alternatives}")
    if name in NEEDS_REFERENCE:
        words = [word for word in words if word != "reference=none"]
    done = unlearn(*words)
    assert done.status == 0, done.said
    assert len(done.steps) == 5
    for line in done.steps:
        assert line["train/lr"] > 0
        assert line["train/weight_forget"] is not None
    moved = {line["train/forget_loss"] or line["train/retain_loss"] for line in done.steps}
    assert len(moved) > 1, "a loss that never moves was not trained"


@pytest.mark.slow
def test_a_grid_of_parts_runs_from_overrides_alone(unlearn: Command) -> None:
    swept = [f"{group}={','.join(choices)}" for group, choices in GRID.items()]
    done = unlearn("-m", *QUICK, "training.steps=2", "method=ngdiff", *swept)
    assert done.status == 0, done.said
    jobs = [job for job in done.folder.iterdir() if (job / "summary.json").exists()]
    assert len(jobs) == len(list(product(*GRID.values()))) == 8


@pytest.mark.slow
def test_a_weighting_of_torchjd_is_named_as_it_is(unlearn: Command) -> None:
    done = unlearn(
        *QUICK, "method=ngdiff", "method.weighting._target_=torchjd.aggregation.MGDAWeighting"
    )
    assert done.status == 0, done.said
    for line in done.steps:
        assert line["train/weight_retain"] + line["train/weight_forget"] == pytest.approx(1)


# Diagnostics


@pytest.mark.slow
def test_fixed_weights_tell_their_gradients_every_so_often(unlearn: Command) -> None:
    done = unlearn(*QUICK, "method=graddiff", "training.diagnose_every=2")
    assert done.status == 0, done.said
    known = [line["train/cosine"] is not None for line in done.steps]
    assert known == [True, False, True, False]
    assert "## Gradients" in (done.folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.trains
def test_taking_the_gradients_apart_changes_the_training_by_rounding_only(
    unlearn: Command,
) -> None:
    every, never = (
        unlearn(*QUICK, "method=graddiff", f"training.diagnose_every={n}", "scheduler=constant")
        for n in (1, 0)
    )
    assert "train/cosine" not in never.steps[0]
    for one, other in zip(every.steps, never.steps, strict=True):
        assert one["train/forget_loss"] == pytest.approx(other["train/forget_loss"], rel=1e-4)
        assert one["train/direction_norm"] == pytest.approx(other["train/direction_norm"], rel=1e-3)


# A task that is left out


@pytest.mark.slow
@pytest.mark.trains
def test_without_a_retain_task_its_loss_is_null_and_gen_reads_the_other(unlearn: Command) -> None:
    done = unlearn(*QUICK, "method=idk", "method/retain=none")
    assert done.status == 0, done.said
    assert all(line["train/retain_loss"] is None for line in done.steps)
    assert all(line["train/retain_share"] == 0 for line in done.steps)
    assert done.steps[0]["train/lr_reason"] in ("rose", "fell", "kept")
    losses = [line["train/forget_loss"] for line in done.steps]
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.parametrize("name", ["ce_u", "wga"])
def test_a_loss_whose_target_moves_is_not_what_gen_reads(unlearn: Command, name: str) -> None:
    """Along a step such a loss falls at any rate: read by it, the search found 16 for ce_u."""
    words = [*QUICK, "method=ngdiff", f"method/forget={name}", "method/retain=none"]
    done = unlearn(*words, "optimizer.lr=1e-3")
    assert done.status == 0, done.said
    assert all(line["train/lr"] < 1 for line in done.steps)


# When it is enough


@pytest.mark.slow
@pytest.mark.trains
def test_a_run_stops_once_the_level_is_reached(unlearn: Command) -> None:
    done = unlearn(
        *QUICK,
        "training.steps=50",
        "training.until=1e-3",
        "training.until_every=3",
    )
    assert done.status == 0, done.said
    assert len(done.steps) == 3
    assert done.summary["cost"]["steps"] == 3
    (check,) = [line for line in done.lines if "until/enough" in line]
    assert check["until/enough"] is True
    assert check["until/forget_loss"] >= check["until/level"] == 1e-3
    assert "enough after 3 of 50 steps" in done.said


@pytest.mark.slow
@pytest.mark.parametrize("level", ["reference", "holdout"])
def test_a_level_may_be_that_of_another_model_or_of_holdout_rows(
    unlearn: Command, level: str
) -> None:
    done = unlearn(*SMALL, f"training.until={level}", "training.until_every=2")
    assert done.status == 0, done.said
    checks = [line for line in done.lines if "until/level" in line]
    assert len({line["until/level"] for line in checks}) == 1
    stage, metric = (
        ("reference", "forget/loss") if level == "reference" else ("before", "holdout/loss")
    )
    expected = done.summary["metrics"][stage][metric]
    assert checks[0]["until/level"] == pytest.approx(expected, rel=1e-2)


# What does not go together


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("method/retain=hidden_state",), "method.retain: hidden_state keeps the hidden layer"),
        (
            ("method/forget=bounded_ascent", "reference=none"),
            "method.forget.level: reference, but reference=none",
        ),
        (("training.until=reference", "reference=none"), "training.until: reference, but"),
        (("training.until=yesterday",), "training.until: 'yesterday'; allowed: auto, reference"),
        (("training.until=1", "training.until_every=0"), "training.until_every: 0; allowed: 1"),
        (
            ("training.until=1", "training.until_retain_slack=-1"),
            "training.until_retain_slack: -1",
        ),
        (("training.diagnose_every=-1",), "training.diagnose_every: -1; allowed: 0 (never)"),
        (("method=rmu", "method.forget.layer=9"), "method.forget.layer: 9; allowed: 1 to 1"),
        (
            ("method=mgda", "method/retain=kl"),
            "method.weighting: MGDA does not move where one gradient is zero, as that of "
            "method.retain=KullbackLeibler is",
        ),
        (
            ("method=cagrad", "method/forget=bounded_ascent", "method.forget.level=2"),
            "method.weighting: TorchJDWeighting does not move",
        ),
        (
            ("training.until=null", "training.until_retain_slack=0.1"),
            "training.until_retain_slack: needs training.until",
        ),
        (("method=rmu", "method.forget.seed=-1"), "method.forget.seed: -1; allowed: 0 up to"),
        (("scheduler.pace=nan",), "scheduler.pace: nan; allowed: above 0"),
        (("method=rmu", "method.forget.layer=0"), "method.forget.layer: 0; allowed: null"),
        (("method=dpo",), "method.forget.alternatives"),
        (
            ("method=ngdiff_bounded", "method.forget.distil=0.5", "reference=train"),
            "method.forget.distil: 0.5; needs fade above 0",
        ),
        (("method=npo", "method.forget.beta=-0.1"), "method.forget.beta: -0.1; allowed: above 0"),
        (("method=linear", "method.weighting.retain_share=1.5"), "retain_share: 1.5"),
        (("method/forget=idk", "method.forget.seed=x"), "method.forget.seed"),
        (
            ("method/retain=none", "method.forget={_target_: unlearn.objectives.NoObjective}"),
            "method: forget and retain are both left out",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused_before_a_model_loads(
    unlearn: Command, words: tuple[str, ...], told: str
) -> None:
    quick = [word for word in QUICK if not word.startswith("reference=")]
    done = unlearn(*quick, *words)
    assert done.status == 2, done.said
    assert told in done.said
    assert "Traceback" not in done.said
    assert "from the cache" not in done.said
    assert not (done.folder / "model").exists()


@dataclass
class OwnBounded(Ascent):
    """A user's own loss with a floor, which says so."""

    vanishes = True


@dataclass
class OwnWeighting(Linear):
    def problems_beside(self, method: Beside) -> list[str]:
        return [
            *super().problems_beside(method),
            f"retain_share: {self.retain_share} of {type(method.forget).__name__}",
            f"not on {method.depth} layers with reference={method.reference}",
        ]


@dataclass
class OwnScheduler(Constant):
    def problems_beside(self, method: Beside) -> list[str]:
        raise RuntimeError(f"a mistake beside {type(method.weighting).__name__}")


@dataclass
class OwnAttack(Probing):
    def problems_beside(self, method: Beside | None) -> list[str]:
        return ["nothing is trained" if method is None else "something is trained"]


def test_a_bounded_objective_of_ones_own_beside_mgda_is_refused_like_ours(unlearn: Command) -> None:
    done = unlearn(
        *QUICK, "method=mgda", f"method.forget._target_={OwnBounded.__module__}.OwnBounded"
    )
    assert done.status == 2
    assert (
        "method.weighting: MGDA does not move where one gradient is zero, as that of "
        "method.forget=OwnBounded is at the start or at the end"
    ) in done.said


def test_every_kind_of_part_judges_itself_and_all_is_told_at_once(unlearn: Command) -> None:
    module = OwnBounded.__module__
    attack = f"+attack.own={{_target_: {module}.OwnAttack}}"
    done = unlearn(
        *QUICK,
        "method=linear",
        f"method.weighting._target_={module}.OwnWeighting",
        "scheduler=constant",
        f"scheduler._target_={module}.OwnScheduler",
        attack,
    )
    assert done.status == 2
    for told in (
        "method.weighting.retain_share: 0.9 of Ascent",
        "method.weighting: not on 1 layers with reference=none",
        "scheduler: a mistake beside OwnWeighting",
        "attack.own: something is trained",
    ):
        assert done.said.count(told) == 1, done.said
    assert "attack.own: nothing is trained" in unlearn(*QUICK, "method=none", attack).said


@pytest.mark.slow
def test_a_weighting_that_needs_positive_losses_is_refused_beside_ascent(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearn.weightings.RandomWeighting.needs_positive_losses", True)
    done = unlearn(*QUICK, "method=rlw")
    assert done.status == 2
    assert "RandomWeighting needs losses that are never negative" in done.said
    assert unlearn(*QUICK, "method=rlw", "method/forget=npo").status == 0


@pytest.mark.slow
def test_the_tokens_trained_on_are_those_of_the_tasks_that_train(unlearn: Command) -> None:
    tokens = {
        words: unlearn(*QUICK, *words).summary["cost"]["tokens"]
        for words in (("method=idk",), ("method=idk", "method/retain=none"), ("method=idk_dpo",))
    }
    both, alone, two_answers = tokens.values()
    assert 0 < alone < both < two_answers


def test_every_problem_of_a_method_is_told_at_once(unlearn: Command) -> None:
    done = unlearn(
        *QUICK,
        "method=rmu",
        "method.forget.layer=40",
        "method.forget.coefficient=-1",
        "method/weighting=linear",
        "method.weighting.retain_share=7",
        "training.until=reference",
    )
    assert done.status == 2
    for told in ("coefficient: -1", "retain_share: 7", "training.until: reference"):
        assert told in done.said
