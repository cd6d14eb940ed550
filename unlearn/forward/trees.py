"""A question and all its answers as one tree of tokens, so that what they share is computed once.

The answers of a TOFU row share their question and often a beginning. A tree holds every shared
token once, at the position that it has in its own rows. What a token sees of the others can be told
in two ways, and either gives every branch the logits of a row by itself:

- as rows: trees stand one behind the other, and attention alone lays every branch out as a row
  again (:mod:`unlearn.forward.packing`). There is no padding, and tokens of different answers never
  meet;
- by a mask: trees are a batch in which each token sees its ancestors only. Attention looks at every
  two tokens of a tree, which is less where many short answers share a long question.

B trees, T nodes of the largest one, M nodes that predict something, N answer tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import PAD
from unlearn.forward.answers import behind
from unlearn.forward.packing import columns_of_a_layout, layout, let_attention_read_layouts


@dataclass(frozen=True)
class Tree:
    """The nodes of one prompt and its answers, each branch before the next (depth first).

    Node k is an ancestor of node q, or q itself, where k <= q < ends[k].
    """

    ids: list[int]
    positions: list[int]
    ends: list[int]
    branches: list[list[int]]
    """For every answer the nodes of prompt and answer; its last token, which is fed nowhere, has
    none."""
    question: int
    """Tokens of the prompt."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def depth(self) -> int:
        """Tokens of the longest branch."""
        return max(map(len, self.branches))

    @property
    def predicting(self) -> list[list[int]]:
        """For every answer the nodes whose next token is one of it."""
        return [branch[self.question - 1 :] for branch in self.branches]


def tree_of(prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> Tree:
    """Return the tree of one prompt, which has a token at least, and its answers."""
    start = len(prompt)
    ids, positions = list(prompt), list(range(start))
    ends, path = [0] * start, list(range(start))
    branches: list[list[int]] = [[]] * len(answers)
    # In lexical order every answer shares its longest beginning with the one before it.
    for number in sorted(range(len(answers)), key=lambda n: tuple(answers[n])):
        inputs = answers[number][:-1]
        shared = start
        while shared < min(len(path), start + len(inputs)):
            if ids[path[shared]] != inputs[shared - start]:
                break
            shared += 1
        for node in path[shared:]:
            ends[node] = len(ids)
        del path[shared:]
        for token in inputs[shared - start :]:
            path.append(len(ids))
            ids.append(token)
            positions.append(len(path) - 1)
            ends.append(0)
        branches[number] = list(path)
    for node in path:
        ends[node] = len(ids)
    return Tree(ids, positions, ends, branches, start)


class Reading(NamedTuple):
    """What one call of the model reads of some trees, and where it predicts their answers."""

    inputs: dict[str, Any]
    positions: tuple[Tensor, Tensor]
    """Rows and columns (M,) of the nodes whose logits are asked for, in row-major order."""
    place: Tensor
    """For every answer token (N,), answer by answer, which of these predicts it."""


def read_as_rows(model: LanguageModel, trees: Sequence[Tree], past: None = None) -> Reading:
    """Return trees one behind the other, with a layout of their branches as rows.

    Nothing may stand ahead of them: every branch would get a copy of it. Only the attention
    implementation `sdpa` reads a layout, and not in every architecture: whoever calls with it
    compares first.
    """
    let_attention_read_layouts()
    ids = torch.tensor([token for tree in trees for token in tree.ids])
    positions = torch.tensor([position for tree in trees for position in tree.positions])
    begins = list(accumulate(map(len, trees), initial=0))
    nodes = _nodes([tree.branches for tree in trees], begins)
    lengths = [len(branch) for tree in trees for branch in tree.branches]
    rows, columns = len(lengths), columns_of_a_layout(model, max(lengths))
    spots = torch.cat([torch.arange(n) + row * columns for row, n in enumerate(lengths)])
    places, sources = torch.zeros((2, rows * columns), dtype=torch.long)
    places[nodes] = spots  # a shared node is alike in all its rows
    sources[spots] = nodes
    asked, place = _asked_for(trees, begins)
    on = model.device
    inputs = {
        "input_ids": ids[None].to(on),
        "position_ids": positions[None].to(on),
        "attention_mask": layout(rows, columns, places.to(on), sources.to(on)),
        **behind(past),
    }
    return Reading(inputs, (torch.zeros_like(asked).to(on), asked.to(on)), place.to(on))


def read_by_mask(model: LanguageModel, trees: Sequence[Tree], past: Any | None = None) -> Reading:
    """Return trees as a right-padded batch, with a mask that shows each node what it may see.

    That is its ancestors, and all that is in the cache `past`. Only the attention implementations
    `sdpa` and `eager` read such a mask, and not every architecture does: whoever calls with it
    compares first.
    """
    on, ahead = model.device, 0 if past is None else int(past.get_seq_length())
    ids = _padded([tree.ids for tree in trees])
    ends = torch.arange(1, ids.shape[1] + 1).repeat(len(trees), 1)
    for row, tree in enumerate(trees):
        ends[row, : len(tree)] = torch.tensor(tree.ends)
    visible = F.pad(_visible(ends.to(on)), (ahead, 0), value=True)
    if model.config._attn_implementation == "eager":  # which adds its mask to the products
        hidden = torch.finfo(torch.float32).min
        visible = torch.zeros_like(visible, dtype=torch.float32).masked_fill(~visible, hidden)
    elif visible.device.type == "cpu":  # whose kernel would make it anew in every layer
        # A mask in float32 goes with queries of any type, and gives the bits of one in bool.
        visible = torch.zeros_like(visible, dtype=torch.float32).masked_fill(~visible, -torch.inf)
    width = ids.shape[1]
    asked, place = _asked_for(trees, range(0, len(trees) * width, width))
    inputs = {
        "input_ids": ids.to(on),
        "position_ids": (_padded([tree.positions for tree in trees]) + ahead).to(on),
        "attention_mask": visible,
        **behind(past),
    }
    return Reading(inputs, ((asked // width).to(on), (asked % width).to(on)), place.to(on))


def _visible(ends: Tensor) -> Tensor:
    """Return which nodes (last) each node sees, by their `ends` (B, T): (B, 1, T, T) bool.

    A node of the padding sees itself, as a softmax over nothing is NaN.
    """
    nodes = torch.arange(ends.shape[1], device=ends.device)
    before = nodes[None, :] <= nodes[:, None]
    return (before & (nodes[:, None] < ends[:, None, :])).unsqueeze(1)


def _padded(lists: Sequence[Sequence[int]]) -> Tensor:
    """Return lists of numbers as one (B, T), with :data:`PAD` behind the shorter ones."""
    return pad_sequence([torch.tensor(one) for one in lists], batch_first=True, padding_value=PAD)


def _nodes(lists: Sequence[Sequence[Sequence[int]]], begins: Sequence[int]) -> Tensor:
    """Return the nodes in the lists of each tree, whose first node has the number `begins`."""
    return torch.tensor(
        [
            begin + node
            for of_tree, begin in zip(lists, begins, strict=False)
            for nodes in of_tree
            for node in nodes
        ]
    )


def _asked_for(trees: Sequence[Tree], begins: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return which nodes predict (M,), and for every answer token (N,) which of these does."""
    nodes = _nodes([tree.predicting for tree in trees], begins)
    asked = torch.zeros(int(nodes.max()) + 1, dtype=torch.bool)
    asked[nodes] = True
    return asked.nonzero()[:, 0], (asked.cumsum(0) - 1)[nodes]
