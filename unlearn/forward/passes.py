"""How rows go through the model: answers that share a question as one tree, all others as rows.

Sharing pays where it takes less arithmetic, and is done where the model reads what it takes, a
layout or a mask: before the first shared batch the same answers are scored both ways, in float32.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
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
from unlearn.forward.trees import Reading, Tree, read_as_rows, read_by_mask, tree_of
from unlearn.forward.windows import farthest

log = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""Nats a token by which the scores of a tree may differ from those of its rows."""

NO_ROOM = "there is no memory to compare that with a question shared by its answers"

CPU_TOKENS = 2048
"""Padded tokens of a batch on the CPU, where larger ones are slower: nothing stays in its cache."""


Read = Callable[..., Reading]
""":func:`read_as_rows` or :func:`read_by_mask`."""


@dataclass(frozen=True)
class Pass:
    """One batch: the numbers of its examples in the order of its answers, and their trees."""

    rows: list[int]
    trees: list[Tree]
    """Empty where every example is a row of its own."""
    read: Read = read_by_mask
    """How the model is to read the trees."""

    def tokens(self, examples: Sequence[Example]) -> int:
        """Return its tokens, those of padding included."""
        if self.trees and self.read is read_as_rows:
            return sum(map(len, self.trees))
        lengths = [len(tree) for tree in self.trees] or [len(examples[row]) for row in self.rows]
        return max(lengths) * len(lengths)

    def within(self, examples: Sequence[Example], tokens: int) -> list[Pass]:
        """Return the same work in passes of at most so many tokens with padding, or of single rows.

        A tree that is larger by itself becomes rows.
        """
        if self.tokens(examples) <= tokens or len(self.rows) == 1:
            return [self]
        if len(self.trees) < 2:
            batches = batches_by_length([len(examples[row]) for row in self.rows], tokens)
            return [Pass([self.rows[place] for place in batch], []) for batch in batches]
        ends = list(accumulate(len(tree.branches) for tree in self.trees))
        owned = [self.rows[first:end] for first, end in zip([0, *ends], ends, strict=False)]
        found = _batches(list(zip(owned, self.trees, strict=True)), self.read, tokens)
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
                inputs, positions = reading(model, batch, past)
            inputs, number = {**inputs, **behind(past)}, batch.answer_tokens
            logits = logits_of(model, inputs, positions, number, compute)
            labels = batch.input_ids[batch.owner, batch.columns]
            place = torch.arange(len(labels), device=labels.device)
            return Predicted(self.rows, logits, place, labels, batch.owner)
        with compute.autocast:
            read = self.read(model, self.trees, past)
        number = len(read.positions[0])
        logits = logits_of(model, read.inputs, read.positions, number, compute)
        tokens = (
            [token for example in chosen for token in example.answer],
            [row for row, example in enumerate(chosen) for _ in example.answer],
        )
        return Predicted(self.rows, logits, read.place, *torch.tensor(tokens, device=model.device))


Group = tuple[list[int], Tree]
"""The numbers of the examples that share a prompt, and their tree."""


def passes(
    model: LanguageModel,
    examples: Sequence[Example],
    compute: Compute,
    start: PrefixCache | None = None,
) -> list[Pass]:
    """Return the batches, of at most so many tokens with padding, that score every example once.

    The examples are what stands behind `start`.
    """
    ahead, reach = 0 if start is None else len(start), farthest(model)
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for number, example in enumerate(examples):
        by_prompt.setdefault(example.prompt, []).append(number)
    trees = [tree_of(prompt, [examples[n].answer for n in g]) for prompt, g in by_prompt.items()]
    groups = list(zip(by_prompt.values(), trees, strict=True))
    near = [group for group in groups if ahead + group[1].depth <= reach]
    found = _shared(model, examples, near, compute, start)
    in_trees = {number for part in found for number in part.rows}
    alone = [number for number in range(len(examples)) if number not in in_trees]
    batches = batches_by_length([len(examples[number]) for number in alone], _tokens(compute))
    return found + [Pass([alone[place] for place in batch], []) for batch in batches]


def _shared(
    model: LanguageModel,
    examples: Sequence[Example],
    groups: Sequence[Group],
    compute: Compute,
    start: PrefixCache | None,
) -> list[Pass]:
    """Return the passes of the groups that the model can read as trees and that it pays for."""
    width, ahead = model.get_input_embeddings().weight.shape[1], 0 if start is None else len(start)

    def attended(lengths: Iterable[int]) -> int:
        return sum(length * (ahead + length) for length in lengths)

    def by_mask(tree: Tree) -> int:
        return attended([len(tree)])

    def as_rows(tree: Tree) -> int:
        return attended(map(len, tree.branches))

    def takes_a_tenth_less(tree: Tree) -> bool:
        """Return whether a mask takes so much less than rows that trying it is worth its time."""
        return 10 * (as_rows(tree) - by_mask(tree)) > 6 * width * len(tree)

    def saves(tree: Tree) -> bool:
        """Return whether a tree read by its mask takes less arithmetic than rows.

        In one layer a token takes 24·width² in the products with weights, and 4·width for each
        token beside it in the attention, masked ones included.
        """
        rows = [len(branch) + 1 for branch in tree.branches]  # with the last token
        more = 6 * width * (sum(rows) - len(tree))
        return len(rows) > 1 and by_mask(tree) < attended(rows) + more

    ways: list[tuple[Read, Callable[[Tree], bool]]] = [(read_by_mask, saves)]
    # Behind a start each branch would be laid out with a copy of it: 1.15 of the time. In 16 bits
    # as rows takes 1.07 of it, and rounds otherwise, by as much as two tokens often lie apart.
    if start is None and not compute.bfloat16:
        ways = [
            (read_by_mask, takes_a_tenth_less),
            (read_as_rows, lambda tree: True),
            *ways,
        ]
    found: list[Pass] = []
    left = list(groups)
    for read, pays in ways:
        chosen = [group for group in left if pays(group[1])]
        reason = None
        if not any(len(numbers) > 1 for numbers, _ in chosen):
            continue
        # Where columns and positions lie farthest apart: a model that mistakes one for the other
        # may well be right about a tree that hardly branches.
        widest = max(chosen, key=lambda group: len(group[1]) - group[1].depth)
        reason = reason_for_rows(model, examples, *widest, read, start)
        if reason is None:
            found += _batches(chosen, read, _tokens(compute))
            left = [group for group in left if not pays(group[1])]
    if reason is not None:
        say_once(log, f"{type(model).__name__} scores every answer with its own question: {reason}")
    return found


def _tokens(compute: Compute) -> int:
    """Return the most tokens of a batch."""
    most = compute.score_tokens
    return min(most, CPU_TOKENS) if compute.device.type == "cpu" else most


def _batches(groups: Sequence[Group], read: Read, tokens: int) -> list[Pass]:
    """Return passes of at most so many tokens, each of trees that are alike in size."""
    trees = [tree for _, tree in groups]
    if read is read_by_mask:
        batches = batches_by_length([len(tree) for tree in trees], tokens)
    else:  # their padding is that of branches which are laid out, and their tokens add up
        batches, free = [], 0
        for place in sorted(range(len(trees)), key=lambda place: -trees[place].depth):
            if len(trees[place]) > free:
                batches.append([])
                free = tokens
            batches[-1].append(place)
            free -= len(trees[place])
    return [
        Pass([n for place in batch for n in groups[place][0]], [trees[p] for p in batch], read)
        for batch in batches
    ]


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
    read: Read,
    start: PrefixCache | None = None,
) -> str | None:
    """Return why the answers `numbers` must not be scored as `tree`, or None where they may be.

    Six parameters: what is scored by whom (three), as what, and behind what (three).
    """
    attention = getattr(model.config, "_attn_implementation", None)
    if attention not in ("sdpa", "eager"):
        return f"the attention implementation {attention} takes no mask of its own"
    if read is read_as_rows and attention != "sdpa":
        return f"the attention implementation {attention} takes no layout of rows"
    if next(model.parameters()).dtype not in (torch.float32, torch.float64):
        return "its weights are below float32, which is too coarse to compare in"
    exact = Compute(model.device)
    try:
        shared = Pass(numbers, [tree], read).run(model, examples, exact, start)
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
