"""One forward pass for the batches of both tasks, where nothing has to be known of one alone.

A pass over a few rows more costs less than two passes, which each read all weights, make as many
calls and add to the whole gradient. What an objective asks of its batch is then a part of what the
pass has made. Where positions are many for the weights there are, two passes are as fast, and hold
the activations of one task at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn.compute.model import LanguageModel, vocabulary_of
from unlearn.data.batches import PAD, Batch
from unlearn.forward.packing import is_packed

MOST_POSITIONS = 384
"""Positions of both up to which it pays for any model: a step of 0.9 M weights took .79 of two
passes with 2 + 2 rows of up to 40 tokens, .86 with 4 + 4, 1.02 with 8 + 8 of up to 96."""
WEIGHTS_A_POSITION = 100_000
"""Weights that learn for each position, from which it pays on a CPU: reading them and adding to
their gradient then takes more than the second task's activations do, of memory as well. A step took
.95 of two passes with 135 M weights and 900 positions, .98 with 27 M and 1280, too little for twice
the activations (docs/benchmarks.md)."""
BYTES_A_POSITION_ON_A_GPU = 1_200_000
"""Bytes of the gradient for each position, from which it pays on a GPU, which has little to do in a
pass over few rows and waits for its calls: the activations of the second task then take no more
than its gradient would, which `unlearn --plan` counts. Those of a Llama with 1.2B weights, its
logits and two bytes a number took 2.5 MB a position."""
MOST_LOGITS, MOST_LOGITS_ON_A_GPU = 1 << 25, 1 << 28
"""Logits of both, 128 MiB or 1 GiB, so that a large vocabulary is not laid out whole."""
MOST_PADDING = 1.15
"""Positions of the joined batch, as many times those of the batches apart, up to which it pays."""


Make = Callable[[Batch], Tensor]
"""Makes something of every answer token of a batch (N, …)."""


class Joined:
    """The batches of one pass, and what it made of each that has not been asked for yet."""

    def __init__(self, model: LanguageModel, batches: Sequence[Batch], whole: Batch) -> None:
        self.model, self.batches, self.whole = model, tuple(batches), whole
        self._logits: dict[int, Tensor] = {}
        self._states: dict[int, Tensor] = {}

    def logits(self, batch: Batch, make: Make, output_layer: nn.Module) -> Tensor:
        """Return the logits (N, V) of one of the batches; `make` gives those of all rows."""
        if id(batch) in self._states:
            return output_layer(self._states.pop(id(batch)))
        return self._part(batch, self._logits, make)

    def states(self, batch: Batch, make: Make) -> Tensor | None:
        """Return what enters the output layer at the answers of one of the batches (N, H).

        None where its logits are there already. To be asked for where the logits are the output of
        that layer and nothing is done to them: whoever comes next may want logits.
        """
        return None if id(batch) in self._logits else self._part(batch, self._states, make)

    def _part(self, batch: Batch, made: dict[int, Tensor], make: Make) -> Tensor:
        if id(batch) not in made:
            sizes = [each.answer_tokens for each in self.batches]
            parts = make(self.whole).split(sizes)
            made.update({id(each): part for each, part in zip(self.batches, parts, strict=True)})
        return made.pop(id(batch))

    def asked(self, model: LanguageModel, batch: Batch) -> bool:
        """Return whether this pass is the one that is asked for.

        A frozen model, or the model without its adapter, is asked without a gradient.
        """
        mine = any(batch is one for one in self.batches)
        return mine and model is self.model and torch.is_grad_enabled()


_now: list[Joined] = []


@contextmanager
def joined_pass(model: LanguageModel, batches: Sequence[Batch]) -> Iterator[bool]:
    """Let the first that asks for the logits of one of these batches make those of all.

    Gives whether there is such a pass. Each of them is asked for once; whoever asks for other rows
    has a pass of its own.
    """
    whole = _worth_joining(model, batches)
    if whole is None:
        yield False
        return
    _now.append(Joined(model, batches, whole))
    try:
        yield True
    finally:
        _now.pop()


def _worth_joining(model: LanguageModel, batches: Sequence[Batch]) -> Batch | None:
    """Return the rows of all batches as one, or None where a pass of each is better."""
    if len(batches) < 2:
        return None
    on_a_gpu = model.device.type == "cuda"
    logits = sum(batch.answer_tokens for batch in batches) * vocabulary_of(model)
    if logits > (MOST_LOGITS_ON_A_GPU if on_a_gpu else MOST_LOGITS):
        return None
    learning = [p for p in model.parameters() if p.requires_grad]
    if on_a_gpu:
        enough = sum(p.nbytes for p in learning) / BYTES_A_POSITION_ON_A_GPU
    else:
        enough = sum(p.numel() for p in learning) / WEIGHTS_A_POSITION
    most = max(MOST_POSITIONS, enough)
    apart = [_positions(model, batch) for batch in batches]
    if sum(apart) > most:
        return None
    whole = together(batches)
    return whole if _positions(model, whole) <= min(most, MOST_PADDING * sum(apart)) else None


def _positions(model: LanguageModel, batch: Batch) -> int:
    """Return how many positions the model computes of a batch."""
    return batch.tokens if is_packed(model, batch) else batch.input_ids.numel()


def pass_for(model: LanguageModel, batch: Batch) -> Joined | None:
    """Return the pass that makes, or has made, the logits of a batch."""
    return _now[-1] if _now and _now[-1].asked(model, batch) else None


def together(batches: Sequence[Batch]) -> Batch:
    """Return the rows of several right-padded batches as one, in their order."""
    longest = max(batch.input_ids.shape[1] for batch in batches)

    def stacked(name: str, padding: int) -> Tensor:
        parts = (getattr(batch, name) for batch in batches)
        wide = [F.pad(part, (0, longest - part.shape[1]), value=padding) for part in parts]
        return torch.cat(wide)

    ahead, owners = 0, []
    for batch in batches:
        owners.append(batch.owner + ahead)
        ahead += batch.size
    return replace(
        batches[0],
        input_ids=stacked("input_ids", PAD),
        attention_mask=stacked("attention_mask", 0),
        answer_mask=stacked("answer_mask", False),
        rows=torch.cat([batch.rows for batch in batches]),
        owner=torch.cat(owners),
        columns=torch.cat([batch.columns for batch in batches]),
        answer_tokens=sum(batch.answer_tokens for batch in batches),
        tokens=sum(batch.tokens for batch in batches),
    )
