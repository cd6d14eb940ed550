"""Answers, greedy or drawn; a finished one leaves at once, and a waiting prompt takes its place.

transformers' `generate` keeps finished rows until the slowest one ends, and starts no prompt
before. The answers here are the same: the argmax at every step, up to the end token. Drawn answers
take a token by its probability instead (:mod:`unlearn.forward.draws`).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from unlearn.compute.casting import weights_cast_once
from unlearn.compute.device import Compute
from unlearn.compute.memory import Budget
from unlearn.compute.model import LanguageModel, plain_output, positions_of
from unlearn.compute.processes import gathered, world
from unlearn.compute.undisturbed import in_evaluation_mode
from unlearn.console.once import say_once, warn_once
from unlearn.console.progress import progress
from unlearn.data.tokens import Encoder
from unlearn.errors import DataError
from unlearn.forward.decoding import BatchedDecoding, Continued
from unlearn.forward.draws import Draw
from unlearn.forward.greedy_starts import GreedyStarts
from unlearn.forward.plain_decoding import answer_plainly
from unlearn.forward.prefix import prefix_cache

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Said:
    """What a model said behind a prompt."""

    text: str
    """Without special tokens."""
    ended: bool
    """Whether it came to its end token; else it is cut at the most new tokens."""


def end_tokens(model: LanguageModel, encoder: Encoder) -> set[int]:
    """Return every id that ends an answer: the template's, the tokenizer's and the model's own."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = encoder.ends | set(configured if isinstance(configured, list) else [configured])
    return {i for i in ids if i is not None}


def streams(rows: Sequence[Continued]) -> list[list[Continued]]:
    """Part rows by length, so that no short prompt waits for slots as wide as the longest one's."""
    parts: list[list[Continued]] = []
    for row in sorted(rows, key=lambda row: -len(row.prompt)):
        if parts and _width(row) >= 0.75 * _width(parts[-1][0]):
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def _width(row: Continued) -> int:
    return len(row.prompt) + row.most


def said(
    model: LanguageModel,
    encoder: Encoder,
    prompts: Sequence[Sequence[int]],
    compute: Compute,
    most: int | Sequence[int],
    title: str = "generating",
    starts: GreedyStarts | None = None,
) -> list[Said]:
    """Return what follows every prompt, in the order given.

    `encoder` made the prompts. `most` new tokens an answer, of all or of each, but never more than
    the model has positions for. `starts` knows how some answers begin, and these tokens are read as
    the prompt is. Seven parameters: what is asked of whom (three), how (two), and what is known or
    said on the way (two, optional).
    """
    longest = [most] * len(prompts) if isinstance(most, int) else most
    limits = within_positions(model, prompts, longest)
    rows = [Continued(p, limit) for p, limit in zip(prompts, limits, strict=True)]
    return _answered(model, encoder, rows, compute, title, starts)


def sampled(
    model: LanguageModel,
    encoder: Encoder,
    prompts: Sequence[Sequence[int]],
    compute: Compute,
    most: Sequence[int],
    draws: Sequence[Draw],
    title: str = "sampling",
) -> list[str]:
    """Return what follows every prompt where each token is drawn by its probability.

    A prompt may come several times, with a draw of another name each. Seven parameters, those of
    :func:`said` with `draws` for what is known.
    """
    limits = within_positions(model, prompts, most)
    rows = [
        Continued(prompt, limit, draw=draw)
        for prompt, limit, draw in zip(prompts, limits, draws, strict=True)
    ]
    return [one.text.strip() for one in _answered(model, encoder, rows, compute, title)]


def _answered(
    model: LanguageModel,
    encoder: Encoder,
    rows: Sequence[Continued],
    compute: Compute,
    title: str,
    starts: GreedyStarts | None = None,
) -> list[Said]:
    """Answer the rows, each up to its end or its limit; six parameters, those of :func:`said`."""
    ends = end_tokens(model, encoder)
    open_rows = [row for row in rows if not _begun(row, starts, ends)]
    mine = compute.share(open_rows)
    known, budget = len(rows) - len(open_rows), Budget(title, compute.generate_tokens)
    with in_evaluation_mode(model), progress(title, len(rows), known) as bar:
        if open_rows and not remembers_by_column(model):
            say_once(
                log,
                f"{type(model).__name__} answers by transformers' own generate, prompts of one "
                "length at a time: its memory is of its own kind",
            )
            with weights_cast_once(model, compute):
                answer_plainly(model, mine, ends, budget, bar)
        else:
            start = prefix_cache(model, [row.ids for row in open_rows], compute)
            with weights_cast_once(model, compute):
                for part in streams(mine):
                    BatchedDecoding(model, part, ends, budget, start).run(bar)
    if compute.split:
        for number, found in enumerate(gathered([(row.answer, row.ended) for row in mine])):
            for row, (answer, ended) in zip(open_rows[number :: world()], found, strict=True):
                row.answer, row.ended = answer, ended
    return [Said(encoder.text(row.answer), row.ended) for row in rows]


def generate(
    model: LanguageModel,
    encoder: Encoder,
    prompts: Sequence[Sequence[int]],
    compute: Compute,
    most: int | Sequence[int],
    title: str = "generating",
    starts: GreedyStarts | None = None,
) -> list[str]:
    """Return the greedy answer to every prompt, without the white space around it.

    Seven parameters, those of :func:`said`.
    """
    found = said(model, encoder, prompts, compute, most, title, starts)
    return [one.text.strip() for one in found]


def within_positions(
    model: LanguageModel, prompts: Sequence[Sequence[int]], longest: Sequence[int]
) -> list[int]:
    """Return the most new tokens behind each prompt for which the model has positions.

    Raises DataError for a prompt that leaves none.
    """
    positions = positions_of(model.config)
    if positions is None:
        return list(longest)
    rooms = [positions - len(prompt) for prompt in prompts]
    if any(room < 1 for room in rooms):
        raise DataError(
            f"a prompt has {max(map(len, prompts))} tokens, and the model positions for "
            f"{positions}; leave the row out, or take a model with a longer context"
        )
    if short := sum(room < most for room, most in zip(rooms, longest, strict=True)):
        warn_once(
            log,
            f"the model has positions for {positions} tokens: {short} of {len(prompts)} answers "
            f"are generated up to there, not up to evaluation.max_new_tokens={max(longest)}",
        )
    return [min(room, most) for room, most in zip(rooms, longest, strict=True)]


@torch.no_grad()
def remembers_by_column(model: LanguageModel) -> bool:
    """Return whether the model takes and gives a cache of which rows may leave.

    One under another name, and states of a recurrence that cannot be parted by rows, are not.
    """
    forward = getattr(model, "forward", model)
    if "past_key_values" not in inspect.signature(forward).parameters:
        return False
    token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
    output = model(
        input_ids=token,
        attention_mask=torch.ones_like(token),
        use_cache=True,
        **plain_output(model),
    )
    layers = getattr(getattr(output, "past_key_values", None), "layers", ())
    return bool(layers) and all(hasattr(layer, "batch_select_indices") for layer in layers)


def _begun(row: Continued, starts: GreedyStarts | None, ends: Collection[int]) -> bool:
    """Give the row what is known of its answer; return whether that is all of it."""
    known = starts.of(row.prompt) if starts is not None else ()
    return any(row.take(token, ends) for token in known)
