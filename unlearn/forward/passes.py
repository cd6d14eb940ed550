"""How rows go through the model: answers that share a question as one tree, all others as rows.

Sharing pays where it takes less arithmetic, and is done where the model reads the mask that it
takes: before the first shared batch the same answers are scored both ways, in float32.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from unlearn.compute.device import Compute
from unlearn.compute.memory import Budget
from unlearn.compute.model import LanguageModel
from unlearn.console.once import say_once
from unlearn.data.batches import batches_by_length, collate
from unlearn.data.tokens import Example
from unlearn.errors import first_line, lacks_memory
from unlearn.forward.answers import behind, reading
from unlearn.forward.predicted import Predicted, logits_of, mean_losses
from unlearn.forward.prefix import PrefixCache
from unlearn.forward.trees import Tree, collate_trees, tree_inputs, tree_of
from unlearn.forward.windows import farthest

log = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""Nats a token by which the scores of a tree may differ from those of its rows."""

NO_ROOM = "there is no memory to compare that with a question shared by its answers"

CPU_TOKENS = 2048
"""Padded tokens of a batch on the CPU, where larger ones are slower: nothing stays in its cache."""


@dataclass(frozen=True)
class Pass:
    """One batch: the numbers of its examples in the order of its answers, and their trees."""

    rows: list[int]
    trees: list[Tree]
    """Empty where every example is a row of its own."""

    def tokens(self, examples: Sequence[Example]) -> int:
        """Return its padded tokens."""
        lengths = [len(tree) for tree in self.trees] or [len(examples[row]) for row in self.rows]
        return max(lengths) * len(lengths)

    def within(self, examples: Sequence[Example], tokens: int) -> list[Pass]:
        """Return the same work in passes of at most `tokens` padded tokens, or of single rows.

        A tree that is larger by itself becomes rows.
        """
        if self.tokens(examples) <= tokens or len(self.rows) == 1:
            return [self]
        if len(self.trees) < 2:
            batches = batches_by_length([len(examples[row]) for row in self.rows], tokens)
            return [Pass([self.rows[place] for place in batch], []) for batch in batches]
        ends = list(accumulate(len(tree.predicting) for tree in self.trees))
        owned = [self.rows[first:end] for first, end in zip([0, *ends], ends, strict=False)]
        found = [
            Pass([row for place in batch for row in owned[place]], [self.trees[p] for p in batch])
            for batch in batches_by_length([len(tree) for tree in self.trees], tokens)
        ]
        return [part for one in found for part in one.within(examples, tokens)]

    def run(
        self,
        model: LanguageModel,
        examples: Sequence[Example],
        compute: Compute,
        start: PrefixCache | None = None,
    ) -> Predicted:
        """Call the model once; the examples are what stands behind `start`."""
        past = None if start is None else start.passing()
        chosen = [examples[row] for row in self.rows]
        if not self.trees:
            batch = collate(chosen, self.rows).to(model.device)
            with compute.autocast:
                read, positions = reading(model, batch, past)
            read, number = {**read, **behind(past)}, batch.answer_tokens
            logits = logits_of(model, read, positions, number, compute)
            labels = batch.input_ids[batch.owner, batch.columns]
            place = torch.arange(len(labels), device=labels.device)
            return Predicted(self.rows, logits, place, labels, batch.owner)
        trees, places = collate_trees(self.trees)
        number = int(trees.predicting.sum())
        trees = trees.to(model.device)
        read = tree_inputs(model, trees, past)
        logits = logits_of(model, read, trees.predicting, number, compute)
        tokens = (
            [node for nodes in places for node in nodes],
            [token for example in chosen for token in example.answer],
            [row for row, example in enumerate(chosen) for _ in example.answer],
        )
        return Predicted(self.rows, logits, *torch.tensor(tokens, device=model.device))


def passes(
    model: LanguageModel,
    examples: Sequence[Example],
    tokens: int,
    start: PrefixCache | None = None,
) -> list[Pass]:
    """Return the batches, of at most `tokens` padded tokens each, that score every example once.

    The examples are what stands behind `start`.
    """
    ahead = 0 if start is None else len(start)
    if model.device.type == "cpu":
        tokens = min(tokens, CPU_TOKENS)
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for number, example in enumerate(examples):
        by_prompt.setdefault(example.prompt, []).append(number)
    groups = [numbers for numbers in by_prompt.values() if len(numbers) > 1]
    trees = [tree_of(examples[g[0]].prompt, [examples[n].answer for n in g]) for g in groups]
    width, reach = model.get_input_embeddings().weight.shape[1], farthest(model)
    shared = [
        (numbers, tree)
        for numbers, tree in zip(groups, trees, strict=True)
        if ahead + tree.depth <= reach
        and _work([len(tree)], width, ahead)
        < _work([len(examples[n]) for n in numbers], width, ahead)
    ]
    if shared:
        # Where columns and positions lie farthest apart: a model that mistakes one for the other
        # may well be right about a tree that hardly branches.
        widest = max(shared, key=lambda pair: len(pair[1]) - pair[1].depth)
        if reason := reason_for_rows(model, examples, *widest, start):
            say_once(
                log, f"{type(model).__name__} scores every answer with its own question: {reason}"
            )
            shared = []
    in_trees = {number for numbers, _ in shared for number in numbers}
    alone = [number for number in range(len(examples)) if number not in in_trees]
    found = []
    for batch in batches_by_length([len(tree) for _, tree in shared], tokens):
        pairs = [shared[place] for place in batch]
        found.append(Pass([n for numbers, _ in pairs for n in numbers], [t for _, t in pairs]))
    batches = batches_by_length([len(examples[number]) for number in alone], tokens)
    return found + [Pass([alone[place] for place in batch], []) for batch in batches]


def run_within_memory(
    parts: Sequence[Pass],
    examples: Sequence[Example],
    take: Callable[[Pass], None],
    title: str,
) -> None:
    """Give every pass to `take`; where one does not fit the memory, it and what follows in halves.

    `take` runs a pass and keeps what it gives once that is whole.
    """
    left, budget = list(reversed(parts)), Budget(title)

    def attempt() -> None:
        while left:
            if budget.tokens is not None:
                left.extend(reversed(left.pop().within(examples, budget.tokens)))
            part = left[-1]
            budget.trying(len(part.rows), part.tokens(examples))
            take(part)
            budget.fits()
            left.pop()

    budget.spend(attempt)


def reason_for_rows(
    model: LanguageModel,
    examples: Sequence[Example],
    numbers: list[int],
    tree: Tree,
    start: PrefixCache | None = None,
) -> str | None:
    """Return why the answers `numbers` must not be scored as `tree`, or None where they may be."""
    attention = getattr(model.config, "_attn_implementation", None)
    if attention not in ("sdpa", "eager"):
        return f"the attention implementation {attention} takes no mask of its own"
    if next(model.parameters()).dtype not in (torch.float32, torch.float64):
        return "its weights are below float32, which is too coarse to compare in"
    exact = Compute(model.device)
    try:
        shared = Pass(numbers, [tree]).run(model, examples, exact, start)
    except Exception as error:  # whatever an architecture makes of a mask that it does not expect
        if lacks_memory(error):
            return NO_ROOM
        return f"its forward pass raises {type(error).__name__}: {first_line(error)}"
    try:
        rows = Pass(numbers, []).run(model, examples, exact, start)
    except Exception as error:
        if not lacks_memory(error):
            raise
        return NO_ROOM
    difference = (mean_losses(shared) - mean_losses(rows)).abs().max().item()
    if difference <= TOLERANCE:
        return None
    return f"with a shared question its scores are off by {difference:.1g} nats a token"


def _work(lengths: Sequence[int], width: int, ahead: int) -> int:
    """Return the arithmetic of one layer, in multiples of 4·width; `ahead` tokens are seen by all.

    A token takes 24·width² in the products with weights and 4·width for each token beside it in
    the attention, masked ones included.
    """
    return sum(length * (6 * width + ahead + length) for length in lengths)
