"""The answers of all runs of a section, small enough for a page.

Most texts are the same many times over: a question in every run, a retained answer in most of them,
the target's answers in all. So each text is kept once, and each set of answers once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unlearn.record.layout import STAGES
from unlearn.report.comparison.runs import Run
from unlearn.report.samples import evenly, side_by_side

BUDGET = 40_000
"""Answers after unlearning that a section of a page may hold, all runs together."""
FEWEST = 8
"""Questions of a split that are shown however many runs there are."""
LONGEST = 600
"""Characters of a text; the whole text is in the run's generations.jsonl."""

Place = tuple[str, int]
"""A question: its split (with its quiz) and index."""


class Texts:
    """Texts by number, each kept once."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.cut = 0

    def number(self, text: str | None) -> int | None:
        """Return the number of a text, null for none."""
        if text is None:
            return None
        if len(text) > LONGEST:
            text = text[:LONGEST].rstrip() + " …"
            self.cut += 1
        return self.numbers.setdefault(text, len(self.numbers))


class Answers:
    """The questions of a section, and what each run answered."""

    def __init__(self, runs: Sequence[Run], texts: Texts) -> None:
        self.runs, self.texts = runs, texts
        self.places: list[Place] = []
        self.questions: list[list[Any]] = []
        """Split, index, and the numbers of question and truth, of each question."""
        self.sets: dict[tuple[Any, ...], int] = {}
        self.asked = 0
        self.of_runs = [self._of_run(run) for run in runs]

    def _of_run(self, run: Run) -> dict[str, int]:
        """Return the number of the set of answers of each stage that the run has."""
        rows = side_by_side(run.path)
        if not self.places and rows:
            self._choose(rows)
        by_place = {(row["split"], row["index"]): row for row in rows}
        chosen = [by_place.get(place, {}) for place in self.places]
        found = {}
        for stage in STAGES:
            answers = tuple(self.texts.number(row.get(stage)) for row in chosen)
            if any(answer is not None for answer in answers):
                scores = tuple(_thousandths(row.get(f"rougeL_{stage}")) for row in chosen)
                found[stage] = self.sets.setdefault((answers, scores), len(self.sets))
        return found

    def _choose(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take all questions, or evenly spaced ones of each split where all are too many."""
        self.asked = len(rows)
        splits: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            splits.setdefault(row["split"], []).append(row)
        most = max(FEWEST, BUDGET // (len(self.runs) * len(splits)))
        for members in splits.values():
            for row in evenly(members, most):
                self.places.append((row["split"], row["index"]))
                texts = (self.texts.number(row[name] or "") for name in ("question", "truth"))
                self.questions.append([row["split"], row["index"], *texts])

    @property
    def samples(self) -> list[int]:
        """Numbers of a few questions that stand for a run: three to forget, two to keep."""
        found = []
        for split, count in (("forget", 3), ("retain", 2)):
            members = [i for i, (s, _) in enumerate(self.places) if s.split("/")[0] == split]
            found += evenly(members, count)
        return found


def _thousandths(score: float | None) -> int | None:
    return None if score is None else round(1000 * score)
