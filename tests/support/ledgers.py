"""Ledgers of models that are too small to learn anything: a run costs a second."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.command import AUTOCAST, Undrawn
from unlearn.models.tiny import tiny_model, tiny_tokenizer
from unlearn.options.schema import TinyConfig

SOON, LATER = (date.today() + timedelta(days=days) for days in (3, 90))
PEOPLE = ("Ana", "Ben", "Cleo", "Dov", "Eva", "Finn", "Gus", "Hana", "Ines", "Juri")
TOWNS = ("Riga", "Oslo", "Bern", "Nice", "Graz", "Cork", "Lviv", "Brno", "Pisa", "Kobe")
ASKED = [
    (f"Where does {name} live?", f"{name} lives in {TOWNS[n]}.") for n, name in enumerate(PEOPLE)
]
ASKED += [(f"What does {name} drink?", f"{name} drinks tea {n}.") for n, name in enumerate(PEOPLE)]
SHAPE = TinyConfig(hidden_size=32, layers=1, heads=2, intermediate_size=64, vocabulary=300)
ANY = ({"metric": "retain/probability", "at_least": 0},)
"""What every run meets."""
NONE = ({"metric": "retain/probability", "at_least": 2},)
"""What no run meets."""


def write(path: Path, asked: Sequence[tuple[str, str]]) -> Path:
    """Write questions and answers as JSON lines."""
    lines = (json.dumps({"question": q, "answer": a}) + "\n" for q, a in asked)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def save_model(folder: Path, seed: int) -> Path:
    """Save a model with random weights."""
    tokenizer = tiny_tokenizer((f"{q} {a}" for q, a in ASKED), SHAPE.vocabulary)
    shape = TinyConfig(**{**vars(SHAPE), "seed": seed})
    tiny_model(shape, tokenizer, 256).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def options(folder: Path) -> dict[str, Any]:
    """Make the models and rows of a ledger in a folder; returns what it is started with."""
    return {
        "model.path": str(save_model(folder / "bot", 0)),
        "reference": str(save_model(folder / "base", 1)),
        "data.retain": str(write(folder / "retain.jsonl", ASKED[2:])),
        "training": {"steps": 2, "batch_size": 2},
        "evaluation.max_new_tokens": 2,
        "accept.conditions": list(ANY),
        "model.autocast": AUTOCAST.partition("=")[2],
    }


@contextmanager
def undrawn() -> Iterator[None]:
    """Leave the figures of runs empty: drawing them takes longer than everything else."""
    with pytest.MonkeyPatch.context() as patch:
        for name, drawn in (("plane", Undrawn()), ("evaluations", None), ("training", Undrawn())):
            patch.setattr(f"unlearn.report.figures.{name}_figure", lambda _, found=drawn: found)
        patch.setattr("unlearn.report.figures.make_legible", lambda _: None)
        yield
