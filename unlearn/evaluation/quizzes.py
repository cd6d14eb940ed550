"""Quizzes: prompts of a benchmark's own form, continued greedily and held against the truth."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.data.splits import Quiz, QuizScore, Row
from unlearn.data.tokens import Encoder
from unlearn.evaluation.cut import scored_rows
from unlearn.forward.generation import said
from unlearn.metrics.catalogue import WordRule
from unlearn.metrics.muse import answer_only
from unlearn.metrics.quiz_scores import score_one
from unlearn.options.schema import EvaluationConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """A quiz as ids, made once for all stages."""

    name: str
    rows: list[Row]
    prompts: list[list[int]]
    truths: list[str]
    most: int
    """New tokens after a prompt."""
    passages: bool
    """What is generated goes on with a passage, and is not cut at the next question."""
    score: QuizScore = "rougeL_f1"
    line: bool = False
    """What is generated ends with its first line."""
    also: tuple[tuple[str, ...], ...] = ()
    """Other answers that are right, by row."""

    def ask(
        self, model: LanguageModel, encoder: Encoder, compute: Compute, stage: str
    ) -> list[str]:
        """Return what the model says to every row."""
        title = f"{stage}: {self.name}"
        found = said(model, encoder, self.prompts, compute, self.most, title)
        texts = [(s.text if self.passages else answer_only(s.text)).strip() for s in found]
        return [text.split("\n")[0].strip() for text in texts] if self.line else texts

    def judge(self, texts: Sequence[str], stemmer: bool, words: WordRule) -> list[dict[str, Any]]:
        """Return one line a row: what the model said, and its score; null for a wordless truth."""
        split, _, quiz = self.name.partition("/")
        others = self.also or ((),) * len(self.rows)
        return [
            {
                "split": split,
                "quiz": quiz,
                "index": index,
                "question": row.question,
                "truth": truth,
                "answer": text,
                self.score: score_one(self.score, (truth, *also), text, stemmer, words),
            }
            for index, (row, truth, text, also) in enumerate(
                zip(self.rows, self.truths, texts, others, strict=True)
            )
        ]


def ask(name: str, quiz: Quiz, encoder: Encoder, config: EvaluationConfig) -> Asked:
    """Put a quiz into ids that, with what is generated, stay within `model.max_length`.

    Where that is too short for a whole prompt, the last examples are left out, the same for every
    row, and where that is not enough the beginning of the prompt. New tokens are `quiz.new_tokens`,
    but never more than `evaluation.max_new_tokens` or half of `model.max_length`.
    """
    rows = quiz.rows[: scored_rows(name.partition("/")[0], config.rows)]
    most = min(quiz.new_tokens, config.max_new_tokens, encoder.max_length // 2)
    room = encoder.max_length - most
    if quiz.templated:
        prompts = [encoder.prompt(row.question, row.before) for row in rows]
        truths = [row.answer for row in rows]
    elif quiz.shots is None:
        prompts = [encoder.plain(row.question) for row in rows]
        truths = [beginning(encoder, row.answer, most) for row in rows]
    else:
        prompts, used = _few_shot_prompts(encoder, rows, quiz.shots, room)
        truths = [row.answer for row in rows]
        _warn_of(name, len(quiz.shots) - used, len(quiz.shots), "examples left out", encoder)
    cut = sum(len(prompt) > room for prompt in prompts)
    _warn_of(name, cut, len(prompts), "prompts cut at their beginning", encoder)
    prompts = [prompt[-room:] for prompt in prompts]
    return Asked(
        *(name, rows, prompts, truths, most),
        *(quiz.shots is None, quiz.score, quiz.line, quiz.also[: len(rows)]),
    )


def question_text(question: str, shots: Sequence[Row]) -> str:
    """Return a question after its examples in the form of MUSE, trailing space included."""
    ahead = [f"Question: {shot.question}\nAnswer: {shot.answer}\n\n" for shot in shots]
    return "".join([*ahead, f"Question: {question}\nAnswer: "])


def beginning(encoder: Encoder, text: str, tokens: int) -> str:
    """Return the first `tokens` tokens of a text, a start token counted, as MUSE's code does."""
    ids = encoder.tokenizer.encode(text, verbose=False)[:tokens]
    return encoder.tokenizer.decode(ids, skip_special_tokens=True)


def _few_shot_prompts(
    encoder: Encoder, rows: Sequence[Row], shots: Sequence[Row], room: int
) -> tuple[list[list[int]], int]:
    """Return the prompts with as many examples as fit in every one of them, and their number."""
    for count in range(len(shots), -1, -1):
        texts = [question_text(row.question, shots[:count]) for row in rows]
        prompts = [encoder.plain(text) for text in texts]
        if max(map(len, prompts)) <= room:
            break
    return prompts, count


def _warn_of(name: str, number: int, all_of: int, what: str, encoder: Encoder) -> None:
    if number:
        text = "%s: %d of %d %s, as model.max_length=%d has no room for them"
        log.warning(text, name, number, all_of, what, encoder.max_length)
