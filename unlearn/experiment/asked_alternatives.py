"""Alternative answers to the forget questions, which the model itself is asked for.

AltPO (Mekala et al., COLING 2025, arXiv 2409.13474) shows a model a question with its answer and
asks for another answer of the same kind, in its own words and language, for `method=dpo` or
`method=alternatives`. Where that comes to nothing, or where refusals are wanted, the model is asked
to refuse in the language of the question.

Where we deviate: the instructions are our own, and every answer is the greedy one, so that a file
can be made again; AltPO samples several for a question.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unlearn.compute.device import Compute, compute_of
from unlearn.compute.model import LanguageModel
from unlearn.compute.threads import threads_for
from unlearn.data.refusals import draw_refusals
from unlearn.data.splits import Row
from unlearn.data.tokens import Encoder
from unlearn.errors import ConfigurationError
from unlearn.experiment.settings import Settings
from unlearn.forward.generation import said
from unlearn.models.identity import key_of
from unlearn.models.load import load_tokenizer
from unlearn.models.prepare import Preparation
from unlearn.objectives.other_answers import require_questions
from unlearn.record.layout import read_lines
from unlearn.storage.cache import entry_of, once
from unlearn.storage.files import write_text_atomic
from unlearn.storage.sealed import sealed_folder

ANOTHER = (
    "Below are a question and an answer. Write a different answer to the same question: as "
    "plausible, about as long and in the same language, but with every fact of the given answer "
    "replaced by another one. Write the new answer only."
)
"""What the model is told for an alternative; the question and its answer follow."""
REFUSAL = (
    "Below is a question. Reply in one short sentence, in the language of the question, that you "
    "do not know the answer. Write the reply only."
)
"""What it is told for a refusal; the question follows."""
ROOM = 32
"""Tokens that an alternative may have beyond twice those of the answer; most of a refusal's."""
FORMAT = 1
"""Raised whenever the code changes what is asked or kept."""
SAID = "generations.jsonl"
"""As the tables of an evaluation have it, so that erasing the texts of rows finds it here, too."""

Ask = Callable[[str, Sequence[Row], Sequence[int]], list[str | None]]
"""From an instruction, rows and the most tokens of each answer to what was said, None where the
model came to no end."""


@dataclass(frozen=True)
class Found:
    """The alternatives, and where they come from."""

    rows: list[dict[str, str]]
    """`question`, `answer`, `alternative` and its `source`: model, refusal or list."""

    def count(self, source: str) -> int:
        return sum(row["source"] == source for row in self.rows)


def alternatives_of(
    settings: Settings, out: Path, refuse: bool = False, another: str = ANOTHER
) -> Found:
    """Ask the target of the run that `settings` describe, and write `out`, JSON lines.

    `refuse`: refusals alone. Raises ConfigurationError for a file that is there, and for rows
    without questions, before a model loads.
    """
    if out.exists():
        raise ConfigurationError(f"--out: {str(out)!r} is there already; give another file")
    if not out.parent.is_dir():
        raise ConfigurationError(f"--out: {str(out.parent)!r} is no folder; make it first")
    splits = settings.read()
    require_questions(splits.forget, "data", "ascent, npo, simnpo")
    compute = compute_of(settings.model, settings.evaluation)
    preparation = Preparation(settings.model, splits, compute)
    target = preparation.target(settings.target)
    encoder = preparation.encoder(load_tokenizer(settings.model, target.folder), target.folder)
    load = cache(lambda: preparation.load(target))
    asker = Asker(load, key_of(settings.model, target), encoder, compute)
    with threads_for(settings.model.small):
        found = Found(chosen(splits.forget, asker, encoder, refuse, another))
    write_text_atomic(out, _lines(found.rows))
    return found


@dataclass(frozen=True)
class Asker:
    """Asks a model, once: what it said is kept in the cache."""

    load: Callable[[], LanguageModel]
    key: str | None
    """Names the model in the cache; None keeps nothing."""
    encoder: Encoder
    compute: Compute

    def __call__(self, told: str, rows: Sequence[Row], most: Sequence[int]) -> list[str | None]:
        prompts = [
            self.encoder.prompt(f"{told}\n\n{_shown(row, told)}", row.before) for row in rows
        ]

        def make() -> list[str | None]:
            found = said(self.load(), self.encoder, prompts, self.compute, most, "alternatives")
            return [one.text.strip() if one.ended else None for one in found]

        def read(entry: Path) -> list[str | None]:
            kept = read_lines(entry / SAID)
            if len(kept) != len(prompts):
                raise ValueError(f"not an answer for each of {len(prompts)} questions")
            return [line["said"] for line in kept]

        def write(entry: Path) -> list[str | None]:
            made = make()
            quoted = [
                {"question": row.question, "truth": row.answer, "said": text}
                for row, text in zip(rows, made, strict=True)
            ]
            with sealed_folder(entry) as unfinished:
                write_text_atomic(unfinished / SAID, _lines(quoted))
            return made

        if self.key is None or not prompts:
            return make() if prompts else []
        made_of = repr((FORMAT, self.key, self.compute.where, prompts, list(most)))
        return once(entry_of("alternatives", made_of), "alternatives", read, write, unkept=make)


def chosen(
    rows: Sequence[Row],
    ask: Ask,
    encoder: Encoder,
    refuse: bool = False,
    another: str = ANOTHER,
) -> list[dict[str, str]]:
    """Return each row with its alternative: the model's, else its refusal, else one of ours."""
    most = [2 * len(encoder.encode(r.question, r.answer, r.before).answer) + ROOM for r in rows]
    said_first: list[str | None] = [None] * len(rows) if refuse else ask(another, rows, most)
    usable = [is_other(row, text) for row, text in zip(rows, said_first, strict=True)]
    left = [row for row, good in zip(rows, usable, strict=True) if not good]
    refused = iter(ask(REFUSAL, left, [ROOM] * len(left)))
    ours = draw_refusals(len(rows), 0)
    found: list[dict[str, Any]] = []
    for number, (row, text, good) in enumerate(zip(rows, said_first, usable, strict=True)):
        source = "model"
        if not good:
            text, source = next(refused), "refusal"
            if not is_other(row, text):
                text, source = ours[number], "list"
        assert text is not None
        told = {"question": row.question, "answer": row.answer, "alternative": text}
        found.append({**told, "source": source})
    return found


def is_other(row: Row, text: str | None) -> bool:
    """Return whether what was said is an answer that neither is nor holds the row's own."""
    if text is None or not text.strip():
        return False
    words, answer = _words(text), _words(row.answer)
    return f" {answer} " not in f" {words} " and words != _words(row.question)


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _shown(row: Row, told: str) -> str:
    question = f"Question: {row.question}"
    return question if told == REFUSAL else f"{question}\nAnswer: {row.answer}"


def _words(text: str) -> str:
    """Return the words of a text in one spelling."""
    return " ".join(re.findall(r"\w+", text.casefold()))
