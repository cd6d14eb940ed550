"""The examples: the commands of each README run from the repository's root, as they are written."""

from __future__ import annotations

import copy
import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from support import tiny
from support.command import QUICK, SMALL, Command
from support.lookup import ORIGINAL, TABLE, Lookup
from support.taught import half_taught

from unlearn.attacks import Subject, Target, run_attacks
from unlearn.data import Row, Splits
from unlearn.data.batches import collate
from unlearn.data.tokens import Example
from unlearn.evaluation.suites import Suite
from unlearn.options.schema import EvaluationConfig

ROOT = Path(__file__).parents[2]
OURS = (
    "own_method",
    "own_objective",
    "own_intervention",
    "own_metric",
    "own_data_set",
    "multiple_choice",
    "own_attack",
)
SHORT = [name for name in OURS if name not in ("own_method", "own_data_set")]
SHRUNK = [word for word in SMALL if not word.startswith(("data", "model.autocast"))]


def commands(name: str) -> tuple[dict[str, str], list[list[str]]]:
    """Return what a README exports, and the words of each of its commands."""
    text = (ROOT / "examples" / name / "README.md").read_text(encoding="utf-8")
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    exported = dict(re.findall(r"^export (\w+)=(\S+)$", "\n".join(lines), re.MULTILINE))
    found = [shlex.split(line) for line in lines if line.startswith("unlearn ")]
    assert len(exported) + len(found) == len(lines), "nothing else is asked of a reader"
    return exported, found


@pytest.mark.parametrize("name", OURS)
def test_a_readme_has_ten_lines_or_so(name: str) -> None:
    assert len((ROOT / "examples" / name / "README.md").read_text().splitlines()) <= 14


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name in OURS for number in range(len(commands(name)[1]))],
)
def test_the_command_runs_as_written(
    name: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported, found = commands(name)
    # What makes it small comes last, and changes neither example nor method.
    name_of_it, *words = found[number]
    assert name_of_it == "unlearn"
    run = tmp_path / "run"
    monkeypatch.syspath_prepend(str(ROOT / exported.pop("PYTHONPATH")))
    assert not exported, "nothing else is asked of a reader"
    done = Command(ROOT)(*words, *SHRUNK, run=run)
    assert done.status == 0, done.said
    summary = done.summary
    assert summary["status"] == "completed"
    if name == "own_method":
        assert summary["method"]["weighting"]["_target_"] == "capped_share.CappedShare"
        text = (run / "metrics.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        shares = [line["train/retain_share"] for line in lines if "train/lr" in line]
        assert len(set(shares)) > 1, "the share moves with the gradients"
    elif name == "own_objective":
        assert summary["method"]["forget"]["_target_"] == "inverted_hinge.InvertedHinge"
        text = (run / "metrics.jsonl").read_text(encoding="utf-8")
        losses = [
            line["train/forget_loss"]
            for line in map(json.loads, text.splitlines())
            if "train/lr" in line
        ]
        assert losses and all(0 < loss < 2 for loss in losses), "it is bounded"
    elif name == "own_attack":
        for stage in ("after", "reference"):
            assert 0 <= summary["metrics"][stage]["attack/prefill_rougeL_recall"] <= 1
            assert "attack/prefill" in summary["metrics"][stage]
    elif name == "own_data_set":
        assert summary["data"]["name"] == "capitals"
    elif name == "own_intervention":
        chosen = summary["method"]["interventions"]["own_sam"]
        assert chosen["_target_"] == "own_sam.OwnSAM"
    elif name == "own_metric":
        assert summary["better"]["kpi/long_answers"] == "lower"
        assert summary["training"]["best"]["metric"] == "kpi/long_answers"
    else:
        assert 0 <= summary["metrics"]["after"]["forget/accuracy"] <= 1
        assert summary["better"]["forget/accuracy"] == "lower"
        assert summary["better"]["retain/accuracy"] == "higher"


@pytest.mark.parametrize("name", SHORT)
def test_an_example_has_35_lines_with_its_yaml(name: str) -> None:
    files = [p for p in (ROOT / "examples" / name).rglob("*") if p.suffix in (".py", ".yaml")]
    assert sum(len(path.read_text().splitlines()) for path in files) <= 35


def test_the_measure_is_the_probability_of_the_long_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "own_metric"))
    from long_answers import probability  # type: ignore[import-not-found]

    rows = {"forget": [Row("q", "one two three"), Row("q", "one"), Row("q", "one two")]}
    scores = pd.DataFrame(
        {
            "split": ["forget"] * 4,
            "index": [0, 0, 1, 2],
            "kind": ["answer", "perturbed", "answer", "answer"],
            "nll_sum": [6.0, 1.0, 1.0, 2.0],
            "tokens": [3, 1, 1, 2],
        }
    )
    found = probability(None, None, rows=rows, scores=scores, words=2)
    assert found == {"long_answers": pytest.approx((math.exp(-2) + math.exp(-1)) / 2)}


def test_the_weighting_gives_retain_more_the_better_the_gradients_agree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "own_method"))
    from capped_share import CappedShare  # type: ignore[import-not-found]

    shares = []
    for cosine in (-1.0, 0.0, 0.5, 1.0):
        retain, forget = 2.0, 5.0
        gramian = torch.tensor(
            [[retain**2, cosine * retain * forget], [cosine * retain * forget, forget**2]]
        )
        weights = CappedShare(least=0.6)(gramian.double(), torch.ones(2))
        assert weights[0] * retain + weights[1] * forget == pytest.approx(1)
        shares.append(weights[0] * retain)
    assert shares == pytest.approx([0.6, 0.6, 0.8, 1.0])
    assert CappedShare()(torch.tensor([[4.0, 0.0], [0.0, 0.0]]), torch.ones(2)) == (1.0, 0.0)


@pytest.mark.slow
def test_the_intervention_is_the_one_of_the_package(
    unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ROOT / "examples" / "own_intervention"
    monkeypatch.syspath_prepend(str(folder))
    words = (*QUICK, "scheduler=constant", "optimizer.lr=1e-3")
    own = unlearn("--config-dir", str(folder), *words, "method/interventions=[own_sam]")
    ours = unlearn(*words, "method/interventions=[sam]")
    assert own.status == 0, own.said
    for one, other in zip(own.steps, ours.steps, strict=True):
        for name in ("train/forget_loss", "train/retain_loss", "train/cosine"):
            assert one[name] == pytest.approx(other[name], rel=1e-3)
    plain = unlearn(*words)
    assert own.steps[0]["train/cosine"] != plain.steps[0]["train/cosine"]


def test_the_objective_is_the_hinge_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "own_objective"))
    from inverted_hinge import InvertedHinge  # type: ignore[import-not-found]

    model = Lookup(torch.tensor(TABLE).log())
    # Right against the likeliest other: 1/2 and 1/4, 3/4 and 1/8, 1/2 and 3/10.
    known = collate([ORIGINAL], [0], 0)
    ahead = 1 / 4 + 5 / 8 + 1 / 5
    assert InvertedHinge().sum(model, known).item() == pytest.approx(3 + ahead)
    assert InvertedHinge(margin=0.5).sum(model, known).item() == pytest.approx(1.5 + ahead)
    # 1/8 against 3/4: enough for a margin of 1/2, but not of 1.
    lost = collate([Example(prompt=(1,), answer=(0,))], [0], 0)
    assert InvertedHinge().sum(model, lost).item() == pytest.approx(3 / 8)
    loss = InvertedHinge(margin=0.5).sum(model, lost)
    loss.backward()
    assert loss.item() == 0
    assert not model.head.weight.grad.any()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["method=mgda"], "does not move where one gradient is zero"),
        (["method.forget.margin=1.5"], "method.forget.margin: 1.5; allowed: above 0 up to 1"),
    ],
)
def test_the_objective_is_refused_where_it_cannot_work(
    words: list[str], told: str, unlearn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(ROOT / "examples" / "own_objective")
    monkeypatch.syspath_prepend(folder)
    done = unlearn("--config-dir", folder, *QUICK, "method/forget=inverted_hinge", *words)
    assert done.status == 2
    assert told in done.said


@pytest.mark.slow
def test_the_attack_gets_the_rest_where_only_the_beginning_was_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "own_attack"))
    from prefill import Prefill  # type: ignore[import-not-found]

    rows = {"forget": tiny.ROWS}
    suite = Suite(rows, tiny.encoder(), EvaluationConfig(max_new_tokens=24), tiny.COMPUTE)
    target = half_taught("llama")
    measured = suite.evaluate(target, "before", None)
    ends = {answer.example.prompt[-1] for answer in suite.answers}

    def silent(_model: Any, _inputs: Any, given: Any, output: Any) -> None:
        """End the answer at once, whatever the question; leave every other token as it is."""
        if "logits_to_keep" in given:  # as in decoding: one position a row
            begins = [int(row[-1]) in ends for row in given["input_ids"]]
            output.logits[begins, -1, tiny.tokenizer().eos_token_id] = 1e4

    def found_in(model: Any, tokens: int) -> tuple[float | None, float | None]:
        known = Target(measured, lambda: half_taught("llama"))
        splits = Splits("eight", tiny.ROWS, [], {})
        subject = Subject("after", model, suite, splits, measured, known)
        metrics, _ = run_attacks({"prefill": Prefill(tokens)}, subject)
        return metrics["attack/prefill"], metrics["attack/prefill_rougeL_recall"]

    assert found_in(target, 3)[1] > 0.7  # type: ignore[operator]
    shallow = copy.deepcopy(target)
    shallow.register_forward_hook(silent, with_kwargs=True)
    assert found_in(shallow, 3) == (1, found_in(target, 3)[1])
    assert found_in(shallow, 0)[1] == 0, "unaided it says nothing"
    share, _ = found_in(tiny.model(seed=1), 3)
    assert share is not None and share < 0.2, "a stranger has nothing to give back"
