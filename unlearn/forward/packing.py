"""Rows of a batch one behind the other: what is done token by token is never done to padding.

Products, norms and losses see the N real tokens as one row; attention alone, which looks from token
to token, lays them out as B rows of T columns again. A step on 40 questions of TOFU so computes
a third less. Only a model that reads such a row as it reads the batch is given one: before the
first, two rows are read both ways. In a layout for scoring several rows may share tokens
(:mod:`unlearn.forward.trees`).
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel, plain_output
from unlearn.compute.sharding import is_sharded_model
from unlearn.compute.undisturbed import in_evaluation_mode
from unlearn.console.once import say_once
from unlearn.data.batches import Batch, collate
from unlearn.data.tokens import Example
from unlearn.errors import first_line, lacks_memory
from unlearn.forward.windows import farthest

log = logging.getLogger(__name__)

MOST_REAL = 0.95
"""Share of real tokens up to which leaving out the padding is worth laying rows out again."""
LEAST_ON_A_GPU = 2e10
"""Real tokens × weights of a tensor on average, from which packing pays on a GPU. Below, it waits
for its calls, of which packing makes more. On an H100 a step of a Llama with 1.2B weights and 1416
real tokens of 2048 (1e10) took .240 s packed and .174 padded, with 5663 of 8192 (5e10) .311 and
.395."""
TOLERANCE, COARSE = 1e-4, 0.05
"""Logits relative to the largest by which a packed row may differ from the batch: with weights in
float32, and in 16 bits, where rounding is up to a hundredth. What a row carries into the next one
is more, and there it must be nothing at all."""

LANES = 16
"""Columns of a layout on a CPU are a multiple of it, the numbers of a vector register: attention to
2048 tokens took 1.1 ms in rows of 64, in rows of 60 or 72 it took 1.5."""

MULTIPLE = 32
"""Tokens of a packed row in 16 bits are a multiple of it. A GPU's matrix units want one of 8, and
oneDNN compiles each product once for each number of rows: the embedded run took 94 ms a step
instead of 77 where nearly every step had a number of its own."""

_reads: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""By the output layer, which a model shares with its view without adapter."""
_compared: dict[str, str | None] = {}
"""By architecture and configuration: why it is not to be given a packed row, None where it is."""


def is_packed(model: LanguageModel, batch: Batch) -> bool:
    """Return whether the model is to read the batch as one row.

    Processes that hold a model together compare when they share it out, each at the same time
    (:func:`compare_rows`): of a batch that one has, others know nothing.
    """
    rows, columns = batch.input_ids.shape
    if rows < 2 or batch.tokens > MOST_REAL * rows * columns:
        return False
    if model.device.type == "cuda" and batch.tokens * _weights_a_tensor(model) < LEAST_ON_A_GPU:
        return False
    if columns > (window := farthest(model)):
        _say(model, f"rows are longer than its window of {window} tokens")
        return False
    layer = model.get_output_embeddings()
    if layer not in _reads:
        if is_sharded_model(model):
            _say(model, "its weights were shared out before the two ways were compared")
            return False
        compare_rows(model)
    return _reads[layer]


def _weights_a_tensor(model: LanguageModel) -> float:
    """Return the mean size of the model's parameters, each of which is a call or two of a pass."""
    sizes = [parameter.numel() for parameter in model.parameters()]
    return sum(sizes) / max(1, len(sizes))


def compare_rows(model: LanguageModel) -> None:
    """Find out whether the model reads rows one behind the other; say so where it does not."""
    reason = _reason_for_padding(model)
    if reason is not None:
        _say(model, reason)
    _reads[model.get_output_embeddings()] = reason is None


def _say(model: LanguageModel, reason: str) -> None:
    say_once(log, f"{model.config.model_type} reads the padding of a batch as well: {reason}")


def packed(model: LanguageModel, batch: Batch) -> dict[str, Tensor]:
    """Return what a model reads of a batch as one row (1, N): ids, positions, and a layout.

    In 16 bits some padding stays, behind all rows.
    """
    rows, columns = batch.input_ids.shape
    step = 1 if _is_fine(model) and not torch.is_autocast_enabled(model.device.type) else MULTIPLE
    count = min(-(-batch.tokens // step) * step, rows * columns)
    places = batch.attention_mask.flatten().argsort(descending=True, stable=True)[:count]
    row, column = places // columns, places % columns
    wide = columns_of_a_layout(model, columns)
    return {
        "input_ids": batch.input_ids.flatten()[places][None],
        "position_ids": column[None],
        "attention_mask": layout(rows, wide, row * wide + column),
    }


def layout(rows: int, columns: int, *lists: Tensor) -> Tensor:
    """Return what stands where a mask would, (B, T, L, n) int64: L lists, each seen B·T times.

    [0, 0, 0] says where each of the N tokens lies in the flattened (B·T). [0, 0, 1], where there is
    one, says which token lies at each of the B·T places, of which several may hold the same; then
    the first list may be longer than N. The shape says B and T without asking the device.
    """
    return torch.stack(lists).expand(rows, columns, -1, -1)


def columns_of_a_layout(model: LanguageModel, columns: int) -> int:
    """Return how many columns rows of so many tokens are laid out in."""
    return -(-columns // LANES) * LANES if model.device.type == "cpu" else columns


def _is_fine(model: LanguageModel) -> bool:
    return next(model.parameters()).dtype in (torch.float32, torch.float64)


def before_packed_answer(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return rows, all 0, and columns (n,) of what predicts the answer tokens in the one row."""
    lengths = batch.attention_mask.sum(1)
    begins = lengths.cumsum(0) - lengths
    columns = begins[batch.owner] + batch.columns - 1
    return torch.zeros_like(columns), columns


@cache
def let_attention_read_layouts() -> None:
    """Let the attention `sdpa` of transformers lay rows out where its mask is a :func:`layout`."""
    as_it_was = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        *more: Any,
        **options: Any,
    ) -> tuple[Tensor, None]:
        if attention_mask is None or attention_mask.dtype != torch.int64:
            return as_it_was(module, query, key, value, attention_mask, *more, **options)
        parts = [_laid_out(states, attention_mask) for states in (query, key, value)]
        output, _ = as_it_was(module, *parts, None, *more, **options)  # (B, T, H, D)
        places = attention_mask[0, 0, 0, : query.shape[2]]
        return output.flatten(0, 1).index_select(0, places)[None], None

    ALL_ATTENTION_FUNCTIONS.register("sdpa", attention)


def _laid_out(states: Tensor, layout: Tensor) -> Tensor:
    """Return the states (1, H, N, D) of a row as those of its rows, (B, H, T, D)."""
    rows, columns, lists = layout.shape[:3]
    # Not `states[0]`, whose gradient is copied into a tensor of zeros.
    tokens = states.squeeze(0).transpose(0, 1)
    if lists == 1:
        found = tokens.new_zeros(rows * columns, *tokens.shape[1:])
        found = found.index_copy_(0, layout[0, 0, 0], tokens)
    else:
        found = tokens.index_select(0, layout[0, 0, 1])
    return found.unflatten(0, (rows, columns)).transpose(1, 2)


def _reason_for_padding(model: LanguageModel) -> str | None:
    """Return why the model must not be given a packed row, or None where it may be.

    It is tried once for models of one configuration: a target reads as the model does.
    """
    attention = getattr(model.config, "_attn_implementation", None)
    if attention != "sdpa":
        return f"the attention implementation {attention} takes no layout of rows"
    let_attention_read_layouts()
    if is_sharded_model(model):  # together, whatever each of its processes has tried before
        return _difference(model)
    precision = next(model.parameters()).dtype
    name = f"{type(model).__name__} {precision} {model.config.to_json_string(use_diff=False)}"
    if name not in _compared:
        _compared[name] = _difference(model)
    return _compared[name]


@torch.no_grad()
def _difference(model: LanguageModel) -> str | None:
    """Return in what a packed row is read otherwise than a batch, or None where it is not.

    The first of two rows is the shorter one: a model that carries something from one row to the
    next carries it from there.
    """
    exact, options = Compute(model.device), {"use_cache": False, **plain_output(model)}
    two, other = (_two_rows(model, start) for start in (0, 1))

    def as_one_row(batch: Batch) -> Tensor:
        logits: Tensor = model(**packed(model, batch), **options).logits[0, : batch.tokens]
        return logits

    with in_evaluation_mode(model), exact.autocast:
        try:
            found, beside = as_one_row(two), as_one_row(other)
        except Exception as error:  # whatever an architecture makes of a layout it does not know
            if lacks_memory(error):
                return "there is no memory to compare"
            return f"one row of all raises {type(error).__name__}: {first_line(error)}"
        expected = model(input_ids=two.input_ids, **options).logits[two.attention_mask.bool()]
    fine = _is_fine(model)
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    if not difference <= (TOLERANCE if fine else COARSE):
        return f"as one row its logits are off by {difference:.1g} of the largest"
    if not fine and not torch.equal(found[SHORT:], beside[SHORT:]):
        return "as one row what stands before a row changes its logits"
    return None


SHORT, LONG = 3, 7
"""Tokens of the two rows that are read both ways: within every window."""


def _two_rows(model: LanguageModel, start: int) -> Batch:
    """Return two rows of arbitrary ids, the first of them by `start`."""
    entries = model.get_input_embeddings().weight.shape[0]
    ids = [(5 + 7 * place) % entries for place in range(LONG + SHORT + 1)]
    rows = [Example((), tuple(ids[start : start + SHORT])), Example((), tuple(ids[-LONG:]))]
    return collate(rows, [0, 1]).to(model.device)
