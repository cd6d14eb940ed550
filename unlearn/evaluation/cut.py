"""What of rows and answers is left out for want of room, counted and said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unlearn.data.splits import Row
from unlearn.data.tokens import Encoder

REQUEST = "forget"
"""The split of the rows that the run is to forget, named like its task."""


def scored_rows(split: str, most: int | None) -> int | None:
    """Return how many rows of a split are scored where `evaluation.rows` is `most`; None: all.

    What is to be gone is measured whole.
    """
    return None if split == REQUEST else most


def cut_notes(encoder: Encoder, rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return at most one line: how many true answers of which split lost their tail.

    The rows must have been encoded already.
    """
    counts, longest = _counted(rows, lambda row: encoder.cut.get((row.question, row.answer), 0))
    if not counts:
        return []
    return [
        f"answers that do not fit into model.max_length={encoder.max_length} lose their tail, in "
        f"training and scoring alike: {counts}; the longest row has {longest} tokens, "
        f"so raise model.max_length to {longest}, as far as the model has positions"
    ]


def shortened_notes(encoder: Encoder, rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return at most one line: how many prompts of which split lost their beginning.

    The rows must have been encoded already.
    """
    counts, longest = _counted(rows, lambda row: encoder.shortened.get(row.question, 0))
    if not counts:
        return []
    return [
        f"prompts that do not fit into model.max_length={encoder.max_length} lose their beginning: "
        f"{counts}; the longest has {longest} tokens, so raise model.max_length to "
        f"{longest}, as far as the model has positions"
    ]


def _counted(rows: Mapping[str, Sequence[Row]], length_of: Callable[[Row], int]) -> tuple[str, int]:
    """Return how many rows of which split do not fit, in words, and the length of the longest.

    `length_of` is 0 for a row that fits.
    """
    counts, longest = [], 0
    for name, members in rows.items():
        lengths = [length_of(row) for row in members]
        if number := sum(length > 0 for length in lengths):
            counts.append(f"{number} of {len(members)} of {name}")
            longest = max(longest, *lengths)
    return ", ".join(counts), longest


def capped_notes(generations: Sequence[Mapping[str, Any]], most: int) -> list[str]:
    """Return at most one line: how many generated answers of which split came to no end."""
    asked: dict[str, list[bool]] = {}
    for line in generations:
        if "ended" in line:
            asked.setdefault(str(line["split"]), []).append(bool(line["ended"]))
    counts = [
        f"{ended.count(False)} of {len(ended)} of {split}"
        for split, ended in asked.items()
        if not all(ended)
    ]
    if not counts:
        return []
    return [
        f"generated answers are cut at evaluation.max_new_tokens={most} or at the model's last "
        f"position: {', '.join(counts)}; where true answers are longer, raise it"
    ]
