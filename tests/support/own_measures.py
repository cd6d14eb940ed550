"""Business measures as a user writes them, good and bad; tests name them by `_target_`."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from unlearn.weightings import NGDiff

CALLS: list[dict[str, Any]] = []
"""What each call of `looks` saw."""


def looks(model: Any, tokenizer: Any, scale: float = 1.0) -> dict[str, float]:
    """Reads a weight, and notes in which state it is called."""
    CALLS.append(
        {
            "training": model.training,
            "gradients": torch.is_grad_enabled(),
            "words": len(tokenizer),
            "drawn": (torch.rand(1).item(), random.random(), np.random.random()),
        }
    )
    weight = next(model.parameters()).double().abs().mean().item()
    return {"size": scale * weight, "entries": len(tokenizer)}


class Disturbs:
    """Leaves everything otherwise than it was, but for the weights."""

    def __init__(self, at_least: int = 1, words: list[str] | None = None) -> None:
        assert words is None or type(words) is list
        self.at_least = at_least

    def __call__(self, model: Any, tokenizer: Any) -> dict[str, Any]:
        model.train()
        torch.manual_seed(1234)
        random.seed(1234)
        np.random.seed(1234)
        tokenizer.padding_side = "left"
        return {"numpy": np.float32(0.5), "tensor": torch.tensor(2), "met": True}


class Counts:
    """Does what its `how` says from its call number `at` on, and answers properly before."""

    def __init__(self, how: str, at: int = 1) -> None:
        self.how, self.at, self.calls = how, at, 0

    def __call__(self, model: Any, tokenizer: Any) -> Any:
        self.calls += 1
        if self.calls < self.at:
            return {"share": 1.0, "other": 2.0}
        if self.how == "raises":
            raise ZeroDivisionError("division by zero in somebody's code")
        if self.how == "exits":
            sys.exit("a script's end")
        return {
            "list": [0.5],
            "nothing": None,
            "empty": {},
            "nan": {"share": float("nan"), "other": 2.0},
            "infinite": {"share": float("inf"), "other": 2.0},
            "text": {"share": "much", "other": 2.0},
            "vector": {"share": np.zeros(2), "other": 2.0},
            "no name": {"": 1.0, "share": 1.0, "other": 2.0},
            "number as name": {3: 1.0, "share": 1.0, "other": 2.0},
            "fewer": {"other": 2.0},
        }[self.how]


@dataclass
class Draws(NGDiff):
    """A weighting of a user's that draws from torch's own generator."""

    def __call__(self, gramian: torch.Tensor, losses: torch.Tensor) -> tuple[float, float]:
        retain, forget = super().__call__(gramian, losses)
        return retain * (1 + torch.rand(1).item()), forget


NO_FUNCTION = 3


def one_argument(model: Any) -> dict[str, float]:
    """Cannot be called with a tokenizer."""
    return {}


class NotCalled:
    """Its objects cannot be called."""


class Toxicity:
    """Less is better, which its name does not tell: measured before, then at steps 2, 4 and 6."""

    def __init__(self) -> None:
        self.values = iter([0.5, 0.9, 0.1, 0.4, 0.1])

    def __call__(self, model: Any, tokenizer: Any) -> dict[str, float]:
        return {"toxicity": next(self.values)}


class KnowsItsWay(Toxicity):
    """Says itself which way is good."""

    better: ClassVar = {"toxicity": "lower"}


GIVEN: list[dict[str, Any]] = []
"""What each call of `reads` was given."""


def reads(
    model: Any, tokenizer: Any, rows: Any, encoder: Any, scores: Any, split: str = "forget"
) -> dict[str, float]:
    """Takes everything that is offered, and spoils it."""
    GIVEN.append({"rows": {**rows}, "encoder": encoder, "scores": scores.copy()})
    answers = scores[(scores["split"] == split) & (scores["kind"] == "answer")]
    found = {"loss": float((answers["nll_sum"] / answers["tokens"]).mean())}
    found["rows"] = len(rows[split])
    rows.clear()
    scores["nll_sum"] = 0.0
    return found


def needs_more(model: Any, tokenizer: Any, rows: Any, weights: Any) -> dict[str, float]:
    """Asks for something that nobody gives."""
    return {}
