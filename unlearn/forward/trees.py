"""A question and all its answers as one tree of tokens, so that what they share is computed once.

The answers of a TOFU row share their question and often a beginning. A tree holds every shared
token once; each token sees its ancestors only, at the position that it has in its own row, so every
branch gets the logits of a row by itself. B trees, T nodes of the largest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from unlearn.compute.model import LanguageModel
from unlearn.data.batches import PAD
from unlearn.forward.answers import behind


@dataclass(frozen=True)
class Tree:
    """The nodes of one prompt and its answers, each branch before the next (depth first).

    Node k is an ancestor of node q, or q itself, where k <= q < ends[k].
    """

    ids: list[int]
    positions: list[int]
    ends: list[int]
    predicting: list[list[int]]
    """For every answer the nodes whose next token is one of it; the last one needs no node."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def depth(self) -> int:
        """Tokens of the longest branch."""
        return max(self.positions) + 1


def tree_of(prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> Tree:
    """Return the tree of one prompt, which has a token at least, and its answers."""
    start = len(prompt)
    ids, positions = list(prompt), list(range(start))
    ends, path = [0] * start, list(range(start))
    predicting: list[list[int]] = [[]] * len(answers)
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
        predicting[number] = path[start - 1 :]
    for node in path:
        ends[node] = len(ids)
    return Tree(ids, positions, ends, predicting)


@dataclass(frozen=True)
class TreeBatch:
    """Right-padded trees."""

    input_ids: Tensor  # (B, T) int64
    positions: Tensor  # (B, T) int64
    ends: Tensor  # (B, T) int64
    predicting: Tensor  # (B, T) bool, True at the nodes whose logits are asked for

    def to(self, device: torch.device | str) -> TreeBatch:
        """Return the batch on `device`."""
        return TreeBatch(
            self.input_ids.to(device),
            self.positions.to(device),
            self.ends.to(device),
            self.predicting.to(device),
        )

    @property
    def visible(self) -> Tensor:
        """Return which nodes (last) each node sees: (B, 1, T, T) bool.

        A node of the padding sees itself, as a softmax over nothing is NaN.
        """
        nodes = torch.arange(self.ends.shape[1], device=self.ends.device)
        before = nodes[None, :] <= nodes[:, None]
        return (before & (nodes[:, None] < self.ends[:, None, :])).unsqueeze(1)


def collate_trees(trees: Sequence[Tree], pad: int = PAD) -> tuple[TreeBatch, list[list[int]]]:
    """Return the batch, and for every answer of every tree the rows of its logits.

    The logits (N, V) are those of the predicting nodes in row-major order.
    """
    unpadded = [torch.tensor(tree.ids) for tree in trees]
    ids = pad_sequence(unpadded, batch_first=True, padding_value=pad)
    positions = pad_sequence([torch.tensor(tree.positions) for tree in trees], batch_first=True)
    ends = torch.arange(1, ids.shape[1] + 1).repeat(len(trees), 1)
    predicting = torch.zeros_like(ids, dtype=torch.bool)
    places, counted = [], 0
    for row, tree in enumerate(trees):
        ends[row, : len(tree)] = torch.tensor(tree.ends)
        nodes = sorted({node for branch in tree.predicting for node in branch})
        predicting[row, nodes] = True
        place = {node: counted + number for number, node in enumerate(nodes)}
        places += [[place[node] for node in branch] for branch in tree.predicting]
        counted += len(nodes)
    return TreeBatch(ids, positions, ends, predicting), places


def tree_inputs(model: LanguageModel, trees: TreeBatch, past: Any | None = None) -> dict[str, Any]:
    """Return what the model reads of trees, which stand behind what is in the cache `past`.

    A token sees what its tree lets it see (:attr:`TreeBatch.visible`) and all that is in the cache.
    Only the attention implementations `sdpa` and `eager` read such a mask, and not every
    architecture does: whoever calls with it compares first.
    """
    positions, visible = trees.positions, trees.visible
    if past is not None:
        positions = positions + past.get_seq_length()
        visible = F.pad(visible, (past.get_seq_length(), 0), value=True)
    if model.config._attn_implementation == "eager":  # which adds its mask to the products
        hidden = torch.finfo(torch.float32).min
        visible = torch.zeros_like(visible, dtype=torch.float32).masked_fill(~visible, hidden)
    elif visible.device.type == "cpu":  # whose kernel would make it anew in every layer
        # A mask in float32 goes with queries of any type, and gives the bits of one in bool.
        visible = torch.zeros_like(visible, dtype=torch.float32).masked_fill(~visible, -torch.inf)
    return {
        "input_ids": trees.input_ids,
        "attention_mask": visible,
        "position_ids": positions,
        **behind(past),
    }
