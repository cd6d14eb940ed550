"""Relearning on rows to keep and on foreign text: what is trained on, and what is looked at."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.attacked import FORGET, RETAIN, forget_probability, probabilities, subject, taught
from torch import nn

from unlearn.attacks import Relearning, check_attacks, run_attacks

pytestmark = pytest.mark.trains

TEXTS = ["The ferry leaves at nine.", "Nobody counts the gulls on the pier.", "It rained."]


def steps_by_hand(model: Any, examples: list[Any], steps: int, lr: float) -> Any:
    """AdamW on all examples at once, as the recipe has it."""
    trained = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0)
    for _ in range(steps):
        losses, tokens = [], 0
        for example in examples:
            ids = torch.tensor([[*example.prompt, *example.answer]])
            logits = trained(ids).logits[0, len(example.prompt) - 1 : -1]
            labels = ids[0, len(example.prompt) :]
            losses.append(nn.functional.cross_entropy(logits, labels, reduction="sum"))
            tokens += len(labels)
        optimizer.zero_grad()
        (sum(losses) / tokens).backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
    return trained


def test_retain_rows_are_trained_on_and_every_forget_row_is_looked_at() -> None:
    attack = Relearning("retain", rows=2, steps=3, lr=3e-3, batch_size=2, checkpoints=1, seed=3)
    model, target = tiny.model(), taught()
    chosen = sorted(random.Random("relearning/3").sample(range(len(RETAIN)), 2))
    rows = [RETAIN[n] for n in chosen]
    examples = [tiny.encoder().encode(row.question, row.answer) for row in rows]
    trained = steps_by_hand(model, examples, 3, 3e-3)
    found, notes = run_attacks({"r": attack}, subject(model, target))
    x = forget_probability(trained)
    assert found["attack/r_probability"] == pytest.approx(x, rel=1e-3)
    learnt = sum(probabilities(trained, [r.question for r in rows], [r.answer for r in rows])) / 2
    assert found["attack/r_trained_probability"] == pytest.approx(learnt, rel=1e-3)
    after, before = forget_probability(model), forget_probability(target)
    share = min(1.0, max(0.0, (x - after) / (before - after)))
    assert found["attack/r"] == pytest.approx(share, rel=1e-2, abs=1e-6)
    assert notes == ["attack/r: trained on 2 rows of retain"]


def test_foreign_text_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\n\n".join(TEXTS))
    attack = Relearning(
        "file", str(file), rows=3, steps=2, lr=3e-3, batch_size=3, checkpoints=1, seed=0
    )
    model = tiny.model()
    examples = [window for text in TEXTS for window in tiny.encoder().windows(text)]
    trained = steps_by_hand(model, examples, 2, 3e-3)
    found, notes = run_attacks({"r": attack}, subject(model, taught()))
    assert found["attack/r_probability"] == pytest.approx(forget_probability(trained), rel=1e-3)
    assert notes == [f"attack/r: trained on 3 rows of {file}"]


def test_more_rows_than_there_are_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\n\n".join(TEXTS))
    for attack, told in (
        (Relearning("retain", rows=4), "rows: 4, of 3 retain rows; allowed: 1 to 3"),
        (Relearning("file", str(file), rows=4), f"rows: 4, of 3 rows of {file}; allowed: 1 to 3"),
        (Relearning("file", str(tmp_path / "no.txt"), rows=1), "no such file"),
    ):
        (problem,) = check_attacks({"r": attack}, FORGET, RETAIN)
        assert told in problem
    assert check_attacks({"r": Relearning("retain", rows=3)}, FORGET, RETAIN) == []
