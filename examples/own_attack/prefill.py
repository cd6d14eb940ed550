"""An attack of one's own (prefilling): given the first tokens of an answer, does the rest come?"""

from dataclasses import dataclass
from typing import Any

from unlearn.attacks import Attack, Found, Subject
from unlearn.attacks.base import recovered
from unlearn.forward.generation import generate
from unlearn.metrics.text import mean_recall


@dataclass
class Prefill(Attack):
    tokens: int = 3
    changes_weights = False  # so no copy of them is kept

    def names(self) -> list[str]:
        return ["rougeL_recall"]

    def run(self, subject: Subject) -> Found:
        suite, asked = subject.suite, [a.example for a in subject.answers("forget")]
        tokenizer, most = suite.encoder.tokenizer, suite.config.max_new_tokens
        rest = [tokenizer.decode(a.answer[self.tokens :], skip_special_tokens=True) for a in asked]

        def recall(model: Any, given: int = self.tokens) -> float | None:
            prompts = [example.prompt + example.answer[:given] for example in asked]
            said = generate(model, suite.encoder, prompts, suite.compute, most)
            return mean_recall(zip(rest, said, strict=True), suite.words)

        x, after, notes = recall(subject.model), recall(subject.model, given=0), []
        before = subject.target and subject.target.find(repr(self), recall)
        return Found(recovered(x, after, before, notes), {"rougeL_recall": x}, notes)
