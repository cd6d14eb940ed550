"""Rows padded on the right are read without an attention mask: the same values, to the bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import transformers
from support import tiny
from torch import Tensor

from benchmarks.architectures import ARCHITECTURES, random_model
from benchmarks.models import TEMPLATES, tokenizer_with
from unlearn.compute.model import plain_output
from unlearn.data.batches import Batch, collate
from unlearn.data.tokens import Example
from unlearn.forward.answers import answer_logits, before_answer, inputs_of

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own, of some architectures


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    yield
    transformers.logging.set_verbosity(level)


def rows(entries: int) -> Batch:
    """Return four rows of 70, 40, 31 and 3 tokens: over windows, chunks of states, and short."""
    draw = torch.Generator().manual_seed(0)
    examples = []
    for prompt, answer in ((50, 20), (33, 7), (1, 30), (2, 1)):
        ids = torch.randint(5, entries, (prompt + answer,), generator=draw).tolist()
        examples.append(Example(ids[:prompt], ids[prompt:]))
    return collate(examples, range(len(examples)))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_values_are_those_with_a_mask_to_the_bit(name: str) -> None:
    tokenizer = tokenizer_with(next(iter(TEMPLATES.values())))
    model, batch = random_model(name, tokenizer), rows(len(tokenizer))

    def gradient(values: Tensor) -> Tensor:
        found = torch.autograd.grad(
            values.logsumexp(dim=1).sum(), list(model.parameters()), allow_unused=True
        )
        return tiny.flat([one for one in found if one is not None])

    masked = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        use_cache=False,
        **plain_output(model),
    ).logits[before_answer(batch)]
    logits = answer_logits(model, batch)[0]
    assert "attention_mask" not in inputs_of(batch)
    assert torch.equal(model(**inputs_of(batch)).logits[before_answer(batch)], masked)
    # Another number of rows in the product of the output layer, and another kernel on the way back.
    torch.testing.assert_close(logits, masked, rtol=1e-5, atol=1e-5)
    assert tiny.relative_error(gradient(logits), gradient(masked)) < 1e-5
