"""Relearning: does a little training, on some forget rows or on others, bring the rest back?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.attacks.base import Attack, Found, Subject, answer_probability
from unlearn.compute.memory import explaining_memory
from unlearn.data.batches import SeededOrder
from unlearn.data.own_files import rows_from
from unlearn.data.splits import Row, as_record
from unlearn.errors import DataError
from unlearn.evaluation.scoring import Scored
from unlearn.models.fine_tune import learn_batch, make_optimizer
from unlearn.options.beside import Beside
from unlearn.options.declared import (
    ABOVE_ZERO,
    ONE_OR_MORE,
    SEED,
    Range,
    option,
    range_problems,
    refuse,
)

KINDS = ("forget", "retain", "file")
TAUGHT = "taught"
"""The split of a score table under which rows stand that the attack itself brought."""


@dataclass
class Relearning(Attack):
    """Fine-tune on `rows` rows for some steps and look at the *other* forget rows.

    x = mean probability exp(−mean NLL) of the forget answers that are not trained on; the highest
    of the checkpoints counts. A model that has really forgotten learns the rows it is shown and
    nothing of the others, as the reference does. `source=retain` trains on rows to keep,
    `source=file` on foreign text: whether forgetting outlasts a fine-tuning that has nothing to do
    with it. After Łucki et al. (2024, arXiv 2409.18025) and Hu et al. (2024, arXiv 2406.13356), who
    train on data of several kinds; by the recipe that taught the target: AdamW on the token-mean
    NLL, clipped, at a constant rate.

    Raises ConfigurationError for a value out of its range.
    """

    examples = (
        "",
        "attack.relearning.steps=50 attack.relearning.rows=4",
        "attack.relearning.source=retain",
        "attack.relearning.source=file attack.relearning.file=TEXTS.txt",
    )

    source: str = option("forget", Range("forget, retain or file", KINDS.__contains__))
    """What is trained on: forget rows, retain rows, or what `file` holds."""
    file: str | None = option(None, Range("with source=file: anything that data=files reads"))
    """Texts, or questions with answers, that are no rows of the run: a file, a folder, a hub id."""
    rows: int = option(8, Range("1 or more, fewer than are scored", lambda value: value >= 1))
    """Rows that are trained on, drawn by `seed`."""
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

    def __post_init__(self) -> None:
        told = None
        if self.source == "file" and not self.file:
            told = (
                "file: null, but source=file; name the texts, such as attack.relearning.file=a.txt"
            )
        elif self.source != "file" and self.file:
            told = f"file: given, but source={self.source}; use source=file, or leave file out"
        refuse(*range_problems(self), told)

    @property
    def identity(self) -> str | None:
        known = super().identity
        if known is None or self.source != "file":
            return known
        return f"{known} {[as_record(row) for row in self._foreign()]}"

    @property
    def scored_at(self) -> list[int]:
        """Steps after which the rows are scored, in order."""
        count = min(self.checkpoints, self.steps)
        return [self.steps * (number + 1) // count for number in range(count)]

    def names(self) -> list[str]:
        on_the_way = [f"step_{step}_probability" for step in self.scored_at]
        return [*on_the_way, "probability", "trained_probability", "rougeL_recall"]

    def check_rows(self, rows: Sequence[Row]) -> None:
        if self.source == "forget" and self.rows >= len(rows):
            raise DataError(
                f"rows: {self.rows} leaves none of the {len(rows)} scored forget rows to look at; "
                f"allowed: 1 to {len(rows) - 1}"
            )

    def check_retain(self, rows: Sequence[Row]) -> None:
        count = len(self._foreign()) if self.source == "file" else len(rows)
        if self.source != "forget" and self.rows > count:
            what = "retain rows" if self.source == "retain" else f"rows of {self.file}"
            raise DataError(f"rows: {self.rows}, of {count} {what}; allowed: 1 to {count}")

    def problems_beside(self, method: Beside | None) -> list[str]:
        if method is None or not method.bfloat16:
            return []
        return [
            "trains every weight of the merged model, and model.dtype=bfloat16 would lose most of "
            "that to rounding; use model.dtype=float32"
        ]

    def run(self, subject: Subject) -> Found:
        answers = subject.answers("forget")
        shown = self._shown(subject)
        taught = [window for answer in shown for window in answer.windows]
        trained = [answer.index for answer in shown]
        of_forget = set(trained) if self.source == "forget" else set()
        others = [a.index for a in answers if a.index not in of_forget]
        brought = [] if of_forget else shown
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
                scores = subject.score([*answers, *brought])
                details[f"step_{step + 1}_probability"] = answer_probability(scores, others)
        best = max(value for value in details.values() if value is not None)
        details["probability"] = best
        split = "forget" if of_forget else TAUGHT
        details["trained_probability"] = answer_probability(scores, trained, split)
        hidden = set(others)
        asked = [one for one in suite.asked if one.split == "forget" and one.row in hidden]
        details["rougeL_recall"] = subject.recall(asked, "after relearning")
        notes = [] if of_forget else [f"trained on {len(shown)} rows of {self.file or 'retain'}"]
        return Found(subject.recovered(best, notes, others), details, notes)

    def _shown(self, subject: Subject) -> list[Scored]:
        """Return the answers that are trained on, in the order of their rows."""
        draw = random.Random(f"relearning/{self.seed}")
        if self.source == "forget":
            known = subject.answers("forget")
            return [known[row] for row in sorted(draw.sample(range(len(known)), self.rows))]
        rows = subject.splits.retain if self.source == "retain" else self._foreign()
        chosen = [rows[row] for row in sorted(draw.sample(range(len(rows)), self.rows))]
        examples = [subject.suite.encoder.examples(row) for row in chosen]
        return [
            Scored(TAUGHT, number, "answer", 0, first, tuple(later))
            for number, (first, *later) in enumerate(examples)
        ]

    def _foreign(self) -> list[Row]:
        assert self.file is not None, "source=file has a file"
        return rows_from(self.file, "attack.relearning.file")
