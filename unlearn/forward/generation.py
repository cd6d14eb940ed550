"""Greedy answers; a finished answer leaves at once, and a waiting prompt takes its place.

transformers' `generate` keeps finished rows until the slowest one ends, and starts no prompt
before. The answers here are the same: the argmax at every step, up to the end token.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.compute.undisturbed import in_evaluation_mode
from unlearn.console.progress import progress
from unlearn.data.tokens import Encoder
from unlearn.forward.decoding import BatchedDecoding, Continued
from unlearn.forward.greedy_starts import GreedyStarts
from unlearn.forward.prefix import prefix_cache


def end_tokens(model: LanguageModel, encoder: Encoder) -> set[int]:
    """Return every id that ends an answer: the template's, the tokenizer's and the model's own."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = encoder.ends | set(configured if isinstance(configured, list) else [configured])
    return {i for i in ids if i is not None}


def streams(rows: Sequence[Continued], most: int) -> list[list[Continued]]:
    """Part rows by length, so that no short prompt waits for slots as wide as the longest one's."""
    parts: list[list[Continued]] = []
    for row in sorted(rows, key=lambda row: -len(row.prompt)):
        if parts and len(row.prompt) + most >= 0.75 * (len(parts[-1][0].prompt) + most):
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def continuations(
    model: LanguageModel,
    encoder: Encoder,
    prompts: Sequence[Sequence[int]],
    compute: Compute,
    most: int,
    title: str = "generating",
    starts: GreedyStarts | None = None,
) -> list[str]:
    """Return what follows every prompt, in the order given, as text without special tokens.

    `encoder` made the prompts. `most` new tokens an answer. `starts` knows how some answers begin,
    and these tokens are read as the prompt is. Seven parameters: what is asked of whom (three), how
    (two), and what is known or said on the way (two, optional).
    """
    ends = end_tokens(model, encoder)
    rows = [Continued(prompt, []) for prompt in prompts]
    open_rows = [row for row in rows if not _begun(row, starts, ends, most)]
    known = len(rows) - len(open_rows)
    with in_evaluation_mode(model), progress(title, len(rows), known) as bar:
        start = prefix_cache(model, [row.prompt for row in open_rows], compute)
        with compute.autocast:
            for part in streams(open_rows, most):
                BatchedDecoding(model, part, ends, most, compute.generate_tokens, start).run(bar)
    return [encoder.text(row.answer) for row in rows]


def generate(
    model: LanguageModel,
    encoder: Encoder,
    prompts: Sequence[Sequence[int]],
    compute: Compute,
    most: int,
    title: str = "generating",
    starts: GreedyStarts | None = None,
) -> list[str]:
    """Return the greedy answer to every prompt, without the white space around it.

    Seven parameters, those of :func:`continuations`.
    """
    found = continuations(model, encoder, prompts, compute, most, title, starts)
    return [text.strip() for text in found]


def _begun(row: Continued, starts: GreedyStarts | None, ends: Collection[int], most: int) -> bool:
    """Give the row what is known of its answer; return whether that is all of it."""
    known = starts.of(row.prompt) if starts is not None else ()
    return any(row.take(token, ends, most) for token in known)
