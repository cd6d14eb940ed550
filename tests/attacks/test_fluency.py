"""Perplexity of the answers under the model before unlearning, by transformers' own loss."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support import tiny
from support.attacked import FORGET, RETAIN, subject, taught

from unlearn.attacks import Fluency, run_attacks

pytestmark = pytest.mark.trains


def perplexity(judge: Any, rows: list[Any], answers: list[str]) -> float:
    nll, tokens = 0.0, 0
    for row, answer in zip(rows, answers, strict=True):
        example = tiny.encoder().encode(row.question, answer)
        ids = torch.tensor([[*example.prompt, *example.answer]])
        labels = ids.clone()
        labels[:, : len(example.prompt)] = -100
        with torch.no_grad():
            nll += judge(input_ids=ids, labels=labels).loss.item() * len(example.answer)
        tokens += len(example.answer)
    return math.exp(nll / tokens)


def test_it_is_the_perplexity_of_what_was_said() -> None:
    model, target = tiny.model(seed=2), taught()
    under = subject(model, target)
    found, notes = run_attacks({"f": Fluency()}, under)
    said = [line["answer"] for line in under.measured.generations]
    forget, retain = said[: len(FORGET)], said[len(FORGET) :]
    assert found == {
        "attack/f_perplexity": pytest.approx(perplexity(target, FORGET, forget), rel=1e-3),
        "attack/f_retain_perplexity": pytest.approx(perplexity(target, RETAIN, retain), rel=1e-3),
    }
    x = found["attack/f_perplexity"]
    assert notes[0] == f"attack/f: forget: perplexity {x:.3g} over 5 answers"
    assert len(notes) == 2
    own, _ = run_attacks({"f": Fluency()}, subject(taught(), target))
    assert own["attack/f_perplexity"] < 5 < 10 < found["attack/f_perplexity"]


def test_empty_answers_are_left_out_and_said() -> None:
    model, target = tiny.model(seed=2), taught()
    under = subject(model, target)
    whole = [line["answer"] for line in under.measured.generations]
    for line in under.measured.generations[:2]:
        line["answer"] = " "
    found, notes = run_attacks({"f": Fluency()}, under)
    wanted = perplexity(target, FORGET[2:], whole[2 : len(FORGET)])
    assert found["attack/f_perplexity"] == pytest.approx(wanted, rel=1e-3)
    assert notes[0] == "attack/f: forget: 2 of 5 answers are empty"


def test_without_the_target_nothing_is_measured() -> None:
    found, notes = run_attacks({"f": Fluency()}, subject(tiny.model()))
    assert found == {"attack/f_perplexity": None, "attack/f_retain_perplexity": None}
    assert notes == ["attack/f: not measured without the model before unlearning"]
