"""What a model is asked of a split: its questions, or the windows of its texts to go on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearn.data.splits import Row
from unlearn.data.tokens import Encoder, Example
from unlearn.evaluation.scoring import Scored
from unlearn.forward.generation import Said
from unlearn.metrics.catalogue import WordRule
from unlearn.metrics.text import rouge_recall


@dataclass(frozen=True)
class Ask:
    """One prompt and what a model that knows the row says behind it."""

    split: str
    index: int
    """Number in the split of what is asked."""
    row: int
    """Number in the split of the row that it is about."""
    question: str
    truth: str
    prompt: tuple[int, ...]
    most: int
    """New tokens of an answer."""
    passage: tuple[Example, int] | None = None
    """The window that is to be gone on with, and how many of its tokens are given."""

    def judge(self, said: Said, words: WordRule) -> dict[str, Any]:
        """Return one line: what the model said, and its scores; null for a wordless truth."""
        text = said.text.strip()
        rouge_l, rouge_1 = rouge_recall(self.truth, text, words)
        return {
            "split": self.split,
            "index": self.index,
            **({"row": self.row} if self.passage else {"ended": said.ended}),
            "question": self.question,
            "truth": self.truth,
            "answer": text,
            "rougeL_recall": rouge_l,
            "rouge1_recall": rouge_1,
        }


def asked_of(
    encoder: Encoder, rows: Mapping[str, Sequence[Row]], answers: Sequence[Scored], most: int
) -> list[Ask]:
    """Return what is asked of these rows, in their order; `answers` are their scored answers."""
    scored = {(a.split, a.index): a for a in answers if a.kind == "answer"}
    found: list[Ask] = []
    for split, members in rows.items():
        asked: list[Ask] = []
        for number, row in enumerate(members):
            answer = scored[split, number]
            if row.question:
                prompt = answer.example.prompt
                asked.append(Ask(split, len(asked), number, row.question, row.answer, prompt, most))
                continue
            for window in answer.windows:
                asked.append(passage(encoder, split, len(asked), number, window, most))
        found += asked
    return found


def passage(encoder: Encoder, split: str, index: int, row: int, window: Example, most: int) -> Ask:
    """Return a window as a passage to go on with: its first half is given.

    The truth is what follows, as long as an answer may be. Of a window with one answer token, or
    none ahead of it, the prompt is all that is given.
    """
    cut = len(window.answer) // 2
    given, behind = window.answer[:cut], window.answer[cut : cut + most]
    truth = tuple(token for token in behind if token not in encoder.ends)
    return Ask(
        split,
        index,
        row,
        encoder.text((*window.prompt, *given)),
        encoder.text(truth).strip(),
        window.prompt + given,
        len(behind),
        (window, cut),
    )
