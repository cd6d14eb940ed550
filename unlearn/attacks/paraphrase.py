"""Paraphrase: does the model answer when it is asked in other words?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.attacks.base import Attack, Found, Subject, answer_probability, recovered
from unlearn.data.splits import Row
from unlearn.errors import DataError
from unlearn.evaluation.asking import Ask
from unlearn.evaluation.scoring import Scored


@dataclass
class Paraphrase(Attack):
    """Ask every forget question in the other words that the data has for it, greedily.

    x = mean ROUGE-L recall of the true answer in what the model says: attacked = to the paraphrased
    questions, after = to the questions as they were trained on, before = the model before
    unlearning asked the same paraphrases. So 1 means: asked in other words, the model says as much
    as before unlearning; 0: no more than it says anyway.
    """

    needs = (
        "data with paraphrased questions (minitofu, TOFU; data=files "
        "data.paraphrased_question=COLUMN)"
    )

    changes_weights = False

    def names(self) -> list[str]:
        return ["rougeL_recall", "probability", "before_rougeL_recall"]

    def check_rows(self, rows: Sequence[Row]) -> None:
        lacking = sum(not row.paraphrased_question or not row.question for row in rows)
        if lacking:
            raise DataError(
                f"{lacking} of {len(rows)} scored forget rows have no paraphrased question (a "
                "column paraphrased_question beside each question); leave the attack out, or use "
                "data that has them, such as minitofu"
            )

    def run(self, subject: Subject) -> Found:
        notes: list[str] = []
        answers, how = self._answers(subject), "paraphrased questions"
        most, rows = subject.suite.config.max_new_tokens, subject.suite.rows["forget"]
        asked = [
            Ask("forget", n, n, str(row.paraphrased_question), row.answer, a.example.prompt, most)
            for n, (row, a) in enumerate(zip(rows, answers, strict=True))
        ]
        said = subject.recall(asked, how)
        probability = answer_probability(subject.score(answers))
        if said is None:
            notes.append("no recovered share, as no true answer of a forget row has a word")
            return Found(None, {**dict.fromkeys(self.names()), "probability": probability}, notes)
        target = subject.target
        before = None
        if target:
            before = subject.found_in_target(self, lambda model: subject.recall(asked, how, model))
        if target and before is None:
            before = target.measured.metrics.get("forget/rougeL_recall")
            notes.append(
                "the model before unlearning was not at hand: its answers to the original "
                "questions stand for those to the paraphrases"
            )
        after = subject.measured.metrics.get("forget/rougeL_recall")
        share = recovered(said, after, before, notes)
        details = {
            "rougeL_recall": said,
            "probability": probability,
            "before_rougeL_recall": before,
        }
        return Found(share, details, notes)

    def _answers(self, subject: Subject) -> list[Scored]:
        """Return the true answers behind the paraphrased questions."""
        encode, rows = subject.suite.encoder.encode, subject.suite.rows["forget"]
        examples = [encode(str(row.paraphrased_question), row.answer, row.before) for row in rows]
        return [Scored("forget", n, "answer", 0, example) for n, example in enumerate(examples)]
