"""A model that knows some of the rows, and what it is asked: questions, and answers to score."""

from __future__ import annotations

from functools import cache
from typing import Any

from support import tiny
from unlearn.data.splits import Row
from unlearn.data.tokens import Encoder
from unlearn.evaluation.scoring import Scored, answers_to_score
from unlearn.models.fine_tune import fine_tune
from unlearn.options.schema import FineTuningConfig

COLUMNS = ["split", "index", "kind", "number", "nll_sum", "tokens", "hits"]
"""Those of a score table, whatever else is asked for."""


@cache
def half_taught(architecture: str) -> Any:
    """A model that knows some of the rows: sure of its answers, which end at different lengths."""
    model = tiny.model(architecture)
    recipe = FineTuningConfig(lr=1e-2, epochs=40, batch_size=4, accuracy=0.95)
    fine_tune(model, tiny.examples(), recipe, tiny.COMPUTE, architecture)
    return model.eval()


def scored_answers() -> list[Scored]:
    """Every kind of answer, of different lengths: true, paraphrased, wrong."""
    rows = [
        Row(
            row.question,
            row.answer,
            paraphrased_answer=f"So it is said: {row.answer}" if number % 3 else None,
            perturbed_answers=tuple(other.answer for other in tiny.ROWS[: number % 4]),
        )
        for number, row in enumerate(tiny.ROWS)
    ]
    return answers_to_score(Encoder(tiny.tokenizer()), "forget", rows)


def prompts() -> list[tuple[int, ...]]:
    return [example.prompt for example in tiny.examples()]
