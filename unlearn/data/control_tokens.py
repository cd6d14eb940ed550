"""Rows whose texts hold what a tokenizer reads as one of its control tokens."""

from __future__ import annotations

import logging
import re
from typing import Any

from unlearn.data.splits import Row, Splits
from unlearn.data.telling import counted, few

log = logging.getLogger(__name__)


def warn_of_control_tokens(tokenizer: Any, splits: Splits) -> None:
    """Warn once of rows that hold the string of a control token, with their numbers.

    A tokenizer makes the token itself of `<|end|>` inside a text: a turn that ends there, or text
    that is left out of generated answers.
    """
    strings = control_strings(tokenizer)
    if not strings:
        return
    pattern = re.compile("|".join(map(re.escape, sorted(strings, key=len, reverse=True))))
    trained = {"forget": splits.forget, "retain": splits.retain}
    # Where the scored rows are the trained rows, they are counted once.
    scored = {name: rows for name, rows in splits.evaluated.items() if name not in trained}
    found: set[str] = set()
    places, count = [], 0
    for name, rows in (trained | scored).items():
        hits = {number: _strings(row, pattern) for number, row in enumerate(rows, start=1)}
        numbers = [number for number, inside in hits.items() if inside]
        if not numbers:
            continue
        count += len(numbers)
        found.update(*(hits[number] for number in numbers))
        places.append(f"{name} {few(list(map(str, numbers)))}")
    if places:
        log.warning(
            "%s of the data, rows %s, hold%s strings that the tokenizer reads as control tokens, "
            "not as text: %s. What is learnt and scored there is the token; write the rows "
            "otherwise unless that is meant.",
            counted(count),
            "; ".join(places),
            "s" if count == 1 else "",
            ", ".join(sorted(found)),
        )


def control_strings(tokenizer: Any) -> set[str]:
    """Return the strings of a tokenizer's control tokens; its added words are none."""
    added = tokenizer.added_tokens_decoder.values()
    strings = {*tokenizer.all_special_tokens, *(str(token) for token in added if token.special)}
    return {text for text in strings if text.strip()}


def _strings(row: Row, pattern: re.Pattern[str]) -> set[str]:
    texts = [row.question, row.answer, *row.perturbed_answers, *(t.content for t in row.before)]
    texts += [text for text in (row.paraphrased_answer, row.paraphrased_question) if text]
    return {found for text in texts for found in pattern.findall(text)}
