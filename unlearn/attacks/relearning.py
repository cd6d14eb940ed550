"""Relearning: does a little training on a few forget rows bring the others back?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.attacks.base import Attack, Found, Subject, answer_probability
from unlearn.compute.memory import explaining_memory
from unlearn.data.batches import SeededOrder
from unlearn.data.splits import Row
from unlearn.errors import DataError
from unlearn.models.fine_tune import learn_batch, make_optimizer
from unlearn.options.beside import Beside
from unlearn.options.declared import ABOVE_ZERO, ONE_OR_MORE, SEED, Range, option


@dataclass
class Relearning(Attack):
    """Fine-tune on `rows` forget rows for some steps and look at the *other* forget rows.

    x = mean probability exp(−mean NLL) of the other rows' answers, none of which is trained on; the
    highest of the checkpoints counts. A model that has really forgotten learns the rows it is shown
    and nothing of the others, as the reference does. After Łucki et al. (2024, arXiv 2409.18025)
    and Hu et al. (2024, arXiv 2406.13356), who train on data of several kinds; here it is always
    the true rows, by the recipe that taught the target: AdamW on the token-mean NLL, clipped, at a
    constant rate.

    Raises ConfigurationError for a value out of its range.
    """

    examples = ("", "attack.relearning.steps=50 attack.relearning.rows=4")

    rows: int = option(8, Range("1 or more, fewer than are scored", lambda value: value >= 1))
    """Forget rows that are trained on, drawn by `seed`."""
    steps: int = option(20, ONE_OR_MORE)
    """Optimizer steps."""
    lr: float = option(1e-5, ABOVE_ZERO, "${model.fine_tuning.lr}")
    """Learning rate of AdamW, constant: that at which the model learns data."""
    batch_size: int = option(4, ONE_OR_MORE)
    """Rows a step."""
    checkpoints: int = option(4, ONE_OR_MORE)
    """How often the rows are scored on the way, at even distances, the last step included."""
    seed: int = option(0, SEED, "${seed}")
    """Which rows, and in which order."""

    @property
    def scored_at(self) -> list[int]:
        """Steps after which the rows are scored, in order."""
        count = min(self.checkpoints, self.steps)
        return [self.steps * (number + 1) // count for number in range(count)]

    def names(self) -> list[str]:
        on_the_way = [f"step_{step}_probability" for step in self.scored_at]
        return [*on_the_way, "probability", "trained_probability", "rougeL_recall"]

    def check_rows(self, rows: Sequence[Row]) -> None:
        if self.rows >= len(rows):
            raise DataError(
                f"rows: {self.rows} leaves none of the {len(rows)} scored forget rows to look at; "
                f"allowed: 1 to {len(rows) - 1}"
            )

    def problems_beside(self, method: Beside | None) -> list[str]:
        if method is None or not method.bfloat16:
            return []
        return [
            "trains every weight of the merged model, and model.dtype=bfloat16 would lose most of "
            "that to rounding; use model.dtype=float32"
        ]

    def run(self, subject: Subject) -> Found:
        answers = subject.answers("forget")
        shown = set(random.Random(f"relearning/{self.seed}").sample(range(len(answers)), self.rows))
        taught = [window for row in sorted(shown) for window in answers[row].windows]
        trained = [answers[row].index for row in sorted(shown)]
        others = [a.index for row, a in enumerate(answers) if row not in shown]
        model, suite = subject.model.requires_grad_(True), subject.suite
        optimizer = make_optimizer(model, self.lr)
        order = SeededOrder(len(taught), self.batch_size, self.seed, "relearning")
        details: dict[str, float | None] = {}
        less = f"lower attack.relearning.batch_size (now {self.batch_size}) or model.max_length"
        for step in range(self.steps):
            batch = [taught[row] for row in order.batch(step)]
            with explaining_memory(f"relearning, step {step + 1}", less):
                learn_batch(model, optimizer, batch, len(batch), suite.compute)
            if step + 1 in self.scored_at:
                scores = subject.score(answers)
                details[f"step_{step + 1}_probability"] = answer_probability(scores, others)
        best = max(value for value in details.values() if value is not None)
        details["probability"] = best
        details["trained_probability"] = answer_probability(scores, trained)
        hidden = set(others)
        asked = [one for one in suite.asked if one.split == "forget" and one.row in hidden]
        details["rougeL_recall"] = subject.recall(asked, "after relearning")
        notes: list[str] = []
        return Found(subject.recovered(best, notes, others), details, notes)
