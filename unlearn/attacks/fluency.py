"""Fluency: are the answers still language? Their perplexity under the model before unlearning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from unlearn.attacks.base import Attack, Found, Subject
from unlearn.evaluation.scoring import Scored
from unlearn.metrics.catalogue import Way

SPLITS = {"forget": "perplexity", "retain": "retain_perplexity"}


@dataclass
class Fluency(Attack):
    """Let the model before unlearning read what a model answers: exp(ΣNLL / Σtokens).

    Over all answers to the forget questions (`perplexity`) and to the retain questions
    (`retain_perplexity`), end token included; the answers are those of the evaluation. What
    babbles or breaks off is unlikely to a model that speaks, and so is the answer of a stranger:
    read it beside the reference. No attack, and it gives no share. An empty answer has no words to
    read: it is left out, counted and named in a note.
    """

    needs = "questions and the model before unlearning"
    changes_weights = False
    gives_share = False

    def names(self) -> list[str]:
        return list(SPLITS.values())

    def directions(self) -> Mapping[str, Way]:
        return {"retain_perplexity": "lower"}

    def run(self, subject: Subject) -> Found:
        details: dict[str, float | None] = dict.fromkeys(self.names())
        notes: list[str] = []
        answers = [answer for split in SPLITS for answer in self.said(subject, split, notes)]
        if not answers:
            return Found(None, details, [*notes, "not measured, as no question is answered"])
        table = None
        if (target := subject.target) is not None:
            name = f"{self!r}: {subject.stage}"
            table = target.find(name, lambda model: subject.score(answers, model))
        if table is None:
            return Found(None, details, ["not measured without the model before unlearning"])
        for split, name in SPLITS.items():
            rows = table[table["split"] == split]
            if len(rows):
                x = math.exp(math.fsum(rows["nll_sum"]) / int(rows["tokens"].sum()))
                details[name] = x
                notes.append(f"{split}: perplexity {x:.3g} over {len(rows)} answers")
        return Found(None, details, notes)

    def said(self, subject: Subject, split: str, notes: list[str]) -> list[Scored]:
        """Return what was answered to the questions of a split, as ids behind the questions."""
        suite = subject.suite
        asked = {one.index: one for one in suite.asked if one.split == split and not one.passage}
        lines = [
            line
            for line in subject.measured.generations
            if line["split"] == split and "quiz" not in line and line["index"] in asked
        ]
        spoken = [line for line in lines if line["answer"].strip()]
        if len(spoken) < len(lines):
            notes.append(f"{split}: {len(lines) - len(spoken)} of {len(lines)} answers are empty")
        found = []
        for line in spoken:
            row = suite.rows[split][asked[line["index"]].row]
            example = suite.encoder.encode(row.question, line["answer"], row.before)
            found.append(Scored(split, line["index"], "answer", 0, example))
        return found
