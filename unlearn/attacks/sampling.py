"""Sampling: does the answer come out when a model is asked several times and draws its words?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unlearn.attacks.base import Attack, Found, Subject, greedy_recalls, recovered
from unlearn.compute.model import LanguageModel
from unlearn.forward.draws import Draw
from unlearn.forward.generation import sampled
from unlearn.metrics.leakage import leak_at
from unlearn.metrics.text import rouge_recall
from unlearn.options.declared import (
    ABOVE_ZERO,
    ONE_OR_MORE,
    SEED,
    Range,
    option,
    range_problems,
    refuse,
)


@dataclass
class Sampling(Attack):
    """Ask every forget question `samples` times at a temperature, and look for one right answer.

    x = leak@k for the largest k (:func:`unlearn.metrics.leakage.leak_at`): attacked = of sampled
    answers, after = the share of questions whose greedy answer is right, before = leak@k of the
    model before unlearning. Right is an answer whose ROUGE-L recall of the truth is at least
    `threshold`; the authors (Leak@k, arXiv 2511.04934) let another model judge whether it entails
    the truth, with 200 samples at temperature 1, and so look for k up to 128.

    A draw depends on seed, question and number of the sample alone: no generator is touched, and
    neither batches nor other questions change an answer.

    Raises ConfigurationError for a value out of its range.
    """

    examples = ("", "attack.sampling.samples=64 attack.sampling.k=[1,16,64]")
    changes_weights = False

    samples: int = option(16, ONE_OR_MORE)
    """Answers that are drawn to a question."""
    k: list[int] = option([1, 4, 16], Range("each 1 to samples"))
    """How many answers an attacker gets; the largest counts."""
    temperature: float = option(1.0, ABOVE_ZERO)
    """What the logits are divided by; 1: the model's own probabilities."""
    threshold: float = option(0.5, Range("above 0, up to 1", lambda value: 0 < value <= 1))
    """Least ROUGE-L recall of a right answer."""
    seed: int = option(0, SEED, "${seed}")
    """Which answers."""

    def __post_init__(self) -> None:
        refuse(
            *range_problems(self),
            None if self.k else "k: empty; give some of 1 to samples, such as [1, 4, 16]",
            *(
                f"k: {k}; allowed: 1 to samples={self.samples}, each once"
                for k in dict.fromkeys(self.k)
                if not 1 <= k <= self.samples or self.k.count(k) > 1
            ),
        )

    def names(self) -> list[str]:
        return [*(f"leak_at_{k}" for k in self.k), "greedy"]

    def run(self, subject: Subject) -> Found:
        notes: list[str] = []
        after = self._greedy(greedy_recalls(subject.measured))
        if after is None:
            notes.append("no recovered share, as no forget row is asked whose answer has a word")
            return Found(None, dict.fromkeys(self.names()), notes)
        right = self.right(subject, subject.model)
        most = max(self.k)
        leaks: dict[str, float | None] = {
            f"leak_at_{k}": leak_at(k, right, self.samples) for k in self.k
        }
        before, target = None, subject.target
        if target is not None:
            known = subject.found_in_target(self, lambda model: self.right(subject, model))
            if known is not None:
                before = leak_at(most, known, self.samples)
            else:
                before = self._greedy(greedy_recalls(target.measured))
                notes.append(
                    "the model before unlearning was not at hand: its greedy answers stand for "
                    "sampled ones"
                )
        share = recovered(leaks[f"leak_at_{most}"], after, before, notes)
        notes.append(
            f"{sum(count > 0 for count in right)} of {len(right)} questions are answered right in "
            f"at least one of {self.samples} answers at temperature {self.temperature:g}, "
            f"{round(after * len(right))} greedily"
        )
        return Found(share, {**leaks, "greedy": after}, notes)

    def right(self, subject: Subject, model: LanguageModel) -> list[int]:
        """Return how many of the answers to each question are right; of truths that have a word."""
        suite, asked = subject.suite, subject.questions
        every = [(one, number) for one in asked for number in range(self.samples)]
        said = sampled(
            model,
            suite.encoder,
            [one.prompt for one, _ in every],
            suite.compute,
            [one.most for one, _ in every],
            [
                Draw(f"sampling/{self.seed}/{one.index}/{number}", self.temperature)
                for one, number in every
            ],
            f"{subject.stage}: sampling",
        )
        recalls = [
            rouge_recall(one.truth, text, suite.words)[0]
            for (one, _), text in zip(every, said, strict=True)
        ]
        rows = [
            recalls[first : first + self.samples] for first in range(0, len(every), self.samples)
        ]
        return [self._count(row) for row in rows if row[0] is not None]

    def _count(self, recalls: Sequence[float | None]) -> int:
        return sum(recall is not None and recall >= self.threshold for recall in recalls)

    def _greedy(self, recalls: Sequence[float | None]) -> float | None:
        """Return the share of questions that are answered right greedily; None without any."""
        known = [recall for recall in recalls if recall is not None]
        return self._count(known) / len(known) if known else None
