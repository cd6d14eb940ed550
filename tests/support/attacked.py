"""A model under attack, and what is found of it by plain loops: shared by the tests of attacks."""

from __future__ import annotations

import copy
import math
from functools import cache
from typing import Any

import numpy as np
import torch

from support import tiny
from support.taught import half_taught
from unlearn.attacks import Subject, Target
from unlearn.data.splits import Row, Splits
from unlearn.data.tokens import Encoder
from unlearn.evaluation.suites import Suite
from unlearn.options.schema import EvaluationConfig

FORGET = [
    Row(row.question, row.answer, paraphrased_question=f"Say, {row.question.lower()}")
    for row in tiny.ROWS[:5]
]
RETAIN = tiny.ROWS[5:]


@cache
def suite() -> Suite:
    rows = {"forget": FORGET, "retain": RETAIN}
    config = EvaluationConfig(max_new_tokens=12)
    return Suite(rows, Encoder(tiny.tokenizer()), config, tiny.COMPUTE)


def taught(architecture: str = "llama") -> Any:
    """A model that knows the rows: the target."""
    return copy.deepcopy(half_taught(architecture))


def subject(model: Any, target: Any = None, reference: Any = None, stage: str = "after") -> Subject:
    """A model under attack; with a target, shares can be had."""
    measured = suite().evaluate(model, stage, None)
    known = [
        None if one is None else Target(suite().evaluate(one, "known", None), lambda one=one: one)
        for one in (target, reference)
    ]
    return Subject(stage, model, suite(), Splits("eight", FORGET, RETAIN, {}), measured, *known)


def probabilities(model: Any, questions: list[str], answers: list[str]) -> list[float]:
    """exp(−mean NLL) of each answer by transformers' own loss, one row at a time."""
    encoder = Encoder(tiny.tokenizer())
    found = []
    for question, answer in zip(questions, answers, strict=True):
        example = encoder.encode(question, answer)
        ids = torch.tensor([example.prompt + example.answer])
        labels = ids.clone()
        labels[:, : len(example.prompt)] = -100
        with torch.no_grad():
            found.append(math.exp(-model(input_ids=ids, labels=labels).loss.item()))
    return found


def forget_probability(model: Any, rows: list[Row] = FORGET) -> float:
    return float(
        np.mean(probabilities(model, [r.question for r in rows], [r.answer for r in rows]))
    )
