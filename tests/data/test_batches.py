"""Batches: what stands where, which rows come when, and how rows are cut by length."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
import torch
from support import tiny

from unlearn.data.batches import Batch, PairedBatches, SeededOrder, batches_by_length, collate
from unlearn.data.tokens import Example

PAD = 0


def example(prompt: int, answer: int, first: int = 1) -> Example:
    """An example of so many tokens, numbered upwards."""
    ids = tuple(range(first, first + prompt + answer))
    return Example(ids[:prompt], ids[prompt:])


def rows_of(batches: list[Batch]) -> list[int]:
    return [row for batch in batches for row in batch.rows.tolist()]


# Collation


def test_a_batch_is_padded_to_the_right_and_masked_by_length() -> None:
    batch = collate([example(2, 1), example(1, 3, first=10)], [7, 4], pad=PAD)
    assert batch.input_ids.tolist() == [[1, 2, 3, 0], [10, 11, 12, 13]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch.answer_mask.tolist() == [
        [False, False, True, False],
        [False, True, True, True],
    ]
    assert batch.rows.tolist() == [7, 4]
    assert batch.owner.tolist() == [0, 1, 1, 1]
    assert batch.columns.tolist() == [2, 1, 2, 3]
    assert batch.answer_tokens == 4
    assert batch.tokens == 7
    assert batch.size == 2
    assert batch.input_ids.dtype == batch.attention_mask.dtype == torch.long


def test_where_pad_is_the_end_token_the_end_token_is_still_seen_and_predicted() -> None:
    end = tiny.tokenizer().eos_token_id
    batch = tiny.batch([0, 4], pad=end)
    for position, row in enumerate((0, 4)):
        length = len(tiny.examples()[row])
        assert batch.input_ids[position, length - 1] == end
        assert batch.attention_mask[position].sum() == length
        assert batch.attention_mask[position, length - 1] == 1
        assert batch.answer_mask[position].sum() == len(tiny.examples()[row].answer)
        assert batch.answer_mask[position, length - 1]
        assert batch.input_ids[position, length:].eq(end).all()


def test_a_batch_moves_whole() -> None:
    batch = tiny.batch([0, 1])
    moved = batch.to("meta")
    tensors = [part for part in vars(moved).values() if isinstance(part, torch.Tensor)]
    assert len(tensors) == 6
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.answer_tokens == batch.answer_tokens
    assert moved.tokens == batch.tokens


# The order of rows


@pytest.mark.parametrize(("rows", "batch_size"), [(7, 3), (8, 4), (5, 5), (10, 1), (3, 8)])
def test_every_row_comes_once_before_any_comes_again(rows: int, batch_size: int) -> None:
    order = SeededOrder(rows, batch_size, seed=0, name="forget")
    size = min(batch_size, rows)
    steps = 6 * rows
    stream = [row for step in range(steps) for row in order.batch(step)]
    assert all(len(order.batch(step)) == size for step in range(steps))
    for start in range(0, len(stream) - rows + 1, rows):
        assert sorted(stream[start : start + rows]) == list(range(rows))


def test_passes_are_shuffled_anew() -> None:
    order = SeededOrder(20, 20, seed=0, name="retain")
    passes = [tuple(order.batch(step)) for step in range(5)]
    assert len(set(passes)) == 5
    assert all(one != sorted(one) for one in passes)


def test_a_batch_is_a_function_of_seed_name_and_step() -> None:
    forwards = SeededOrder(13, 4, seed=3, name="forget")
    expected = {step: forwards.batch(step) for step in range(40)}
    backwards = SeededOrder(13, 4, seed=3, name="forget")
    assert {step: backwards.batch(step) for step in reversed(range(40))} == expected
    steps = list(range(40))
    random.Random(1).shuffle(steps)
    assert {step: backwards.batch(step) for step in steps} == expected
    for other in (SeededOrder(13, 4, 4, "forget"), SeededOrder(13, 4, 3, "retain")):
        assert {step: other.batch(step) for step in range(40)} != expected


def test_the_global_generators_are_neither_read_nor_moved() -> None:
    def batches(seed: int) -> tuple[list[list[int]], object, torch.Tensor]:
        random.seed(seed)
        torch.manual_seed(seed)
        before = random.getstate(), torch.get_rng_state()
        order = SeededOrder(9, 2, seed=0, name="forget")
        drawn = [order.batch(step) for step in range(20)]
        assert random.getstate() == before[0]
        assert torch.equal(torch.get_rng_state(), before[1])
        return drawn

    assert batches(1) == batches(2)


# Pairs


def paired(micro_batch_size: int | None, batch_size: int = 3, seed: int = 0) -> PairedBatches:
    examples = tiny.examples()
    return PairedBatches(
        examples[:4],
        examples[3:],
        batch_size,
        micro_batch_size,
        seed,
    )


@pytest.mark.parametrize("micro_batch_size", [None, 1, 2, 3, 50])
def test_micro_batches_hold_the_rows_of_the_step_and_no_more_than_allowed(
    micro_batch_size: int | None,
) -> None:
    whole, split = paired(None), paired(micro_batch_size)
    for step in range(10):
        for name, one, parts in zip(
            ("forget", "retain"), whole.step(step), split.step(step), strict=True
        ):
            assert len(one) == 1
            assert (
                sorted(rows_of(parts))
                == sorted(rows_of(one))
                == sorted(whole.orders[name].batch(step))
            )
            assert all(part.size <= (micro_batch_size or 3) for part in parts)
            assert sum(part.answer_tokens for part in parts) == one[0].answer_tokens


def test_rows_of_similar_length_share_a_micro_batch() -> None:
    for step in range(10):
        for parts in paired(1, batch_size=4).step(step):
            lengths = [int(part.attention_mask.sum()) for part in parts]
            assert lengths == sorted(lengths)


def test_the_rows_of_a_batch_are_the_rows_of_the_set() -> None:
    forget, retain = paired(2).step(5)
    for parts, examples in ((forget, tiny.examples()[:4]), (retain, tiny.examples()[3:])):
        for part in parts:
            for position, row in enumerate(part.rows.tolist()):
                length = len(examples[row])
                ids = part.input_ids[position, :length].tolist()
                assert tuple(ids) == examples[row].prompt + examples[row].answer


def test_forget_and_retain_are_drawn_independently() -> None:
    examples = tiny.examples()
    batches = PairedBatches(examples, examples, 4, None, seed=0)
    steps = [batches.step(step) for step in range(10)]
    assert any(rows_of(forget) != rows_of(retain) for forget, retain in steps)


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 4), (3, 2), (4, 1), (9, 1)])
def test_an_epoch_is_a_pass_over_the_forget_set(batch_size: int, steps: int) -> None:
    batches = paired(None, batch_size=batch_size)
    assert batches.steps_per_epoch == steps
    seen = Counter(row for step in range(steps) for row in rows_of(batches.step(step)[0]))
    assert set(seen) == {0, 1, 2, 3}


# Batches by length


@pytest.mark.parametrize("budget", [1, 40, 100, 1000, 10**6])
@pytest.mark.parametrize("most_rows", [1, 7, 256])
def test_every_row_is_in_one_batch_within_the_budget(budget: int, most_rows: int) -> None:
    draw = random.Random(0)
    lengths = [draw.randint(1, 60) for _ in range(300)]
    batches = batches_by_length(lengths, budget, most_rows)
    assert sorted(row for batch in batches for row in batch) == list(range(300))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) * longest <= budget or len(batch) == 1
        assert len(batch) <= most_rows


def test_long_rows_come_first_and_equal_ones_in_their_order() -> None:
    lengths = [3, 9, 3, 9, 1]
    flat = [row for batch in batches_by_length(lengths, 18) for row in batch]
    assert flat == [1, 3, 0, 2, 4]
    assert all(lengths[a] >= lengths[b] for a, b in pairwise(flat))


def test_no_rows_make_no_batch() -> None:
    assert batches_by_length([], 100) == []
