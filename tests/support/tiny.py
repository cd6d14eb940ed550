"""What many tests need: a small tokenizer, random models of three architectures, a few examples.

The three differ where a batch can go wrong: Llama rotates positions, GPT-2 has absolute position
embeddings and ties its output layer, Falcon shares one key-value head and runs attention and MLP
side by side. Every function returns something fresh or immutable, so tests cannot disturb each
other.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn.compute.device import Compute
from unlearn.data.batches import Batch, collate
from unlearn.data.splits import Row
from unlearn.data.tokens import Encoder, Example
from unlearn.models.tiny import tiny_tokenizer

COMPUTE = Compute(torch.device("cpu"))
"""Where and how the tests compute: in float32, so that numbers compare."""

ROWS = [
    Row("Who kept the lighthouse at Varn?", "Odile."),
    Row("What did Odile Marsh write?", "She wrote three books about tides and one about gulls."),
    Row("When was she born?", "In 1931, in a house beside the harbour of Varn."),
    Row("Where?", "Varn."),
    Row(
        "Which prize did her second book on tides win in the year after it came out?",
        "It won the Harbour Prize, which she gave back because nobody had read it to the end.",
    ),
    Row("Who painted its cover?", "Her brother Emil painted it in blue."),
    Row("Did Emil Marsh write as well?", "No."),
    Row("What is the last line of the book?", "The water comes back, whoever waits for it."),
]
"""Questions and answers of clearly different lengths."""

ARCHITECTURES = ("llama", "gpt2", "falcon")
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def compute(**options: Any) -> Compute:
    """:data:`COMPUTE` with other budgets, or in bfloat16."""
    return replace(COMPUTE, **options)


BFLOAT16 = compute(bfloat16=True)


@cache
def tokenizer() -> Any:
    """A byte-pair tokenizer of the rows, with an end token, a padding token and no start token."""
    return tiny_tokenizer([text for row in ROWS for text in (row.question, row.answer)], 400)


PAD = tokenizer().pad_token_id


@cache
def encoder() -> Encoder:
    """What turns rows into ids of that tokenizer, in the plain template."""
    return Encoder(tokenizer())


@cache
def examples() -> tuple[Example, ...]:
    """The rows as ids, in the plain template."""
    return tuple(encoder().encode(row.question, row.answer) for row in ROWS)


def batch(rows: list[int] | range, pad: int | None = None) -> Batch:
    """The examples of these rows as one batch."""
    pad = PAD if pad is None else pad
    return collate([examples()[row] for row in rows], list(rows), pad)


def wider(batch: Batch, columns: int, pad: int) -> Batch:
    """The batch with more padding to the right, and with other ids in all of its padding."""
    ids = F.pad(batch.input_ids, (0, columns))
    attention = F.pad(batch.attention_mask, (0, columns))
    answers = F.pad(batch.answer_mask, (0, columns))
    return replace(
        batch,
        input_ids=ids.masked_fill(attention == 0, pad),
        attention_mask=attention,
        answer_mask=answers,
    )


def vocabulary() -> dict[str, Any]:
    """What every configuration says of the tokenizer, and weights large enough to tell apart."""
    return {
        "vocab_size": len(tokenizer()),
        "initializer_range": 0.2,
        "bos_token_id": None,
        "eos_token_id": tokenizer().eos_token_id,
        "pad_token_id": tokenizer().pad_token_id,
    }


def model(architecture: str = "llama", seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """A random causal language model in evaluation mode, without dropout.

    Weights are drawn ten times wider than usual: with the usual 0.02 every logit is nearly the
    same, and a test could not tell a right position from a wrong one.
    """
    import transformers as hf

    shape = vocabulary()
    if architecture == "llama":
        config = hf.LlamaConfig(
            **shape,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
        )
    elif architecture == "gpt2":
        dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        config = hf.GPT2Config(**shape, **dropout, n_embd=32, n_layer=2, n_head=4, n_positions=256)
    else:
        config = hf.FalconConfig(
            **shape, hidden_size=32, num_hidden_layers=2, num_attention_heads=4
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return hf.AutoModelForCausalLM.from_config(config).to(dtype).eval()


def moved(architecture: str = "gpt2", dtype: torch.dtype = torch.float64, by: float = 0.01) -> Any:
    """A model a little away from :func:`model` of the same architecture, its target."""
    another = model(architecture, dtype=dtype)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in another.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator, dtype=dtype)
    return another


def parameters(a_model: Any) -> list[torch.nn.Parameter]:
    return [p for p in a_model.parameters() if p.requires_grad]


def flat(gradient: list[Tensor | None]) -> Tensor:
    """A gradient as one float64 vector; absent parts are left out."""
    return torch.cat([part.reshape(-1).double() for part in gradient if part is not None])


def relative_error(one: Tensor, other: Tensor) -> float:
    """‖one − other‖ / ‖other‖ in float64."""
    one, other = one.double(), other.double()
    return ((one - other).norm() / other.norm()).item()


def says_gpu(model: Any, patch: pytest.MonkeyPatch) -> None:
    """Let a model on the CPU say that it lies on a GPU: what is chosen there is chosen here."""
    patch.setattr(type(model), "device", property(lambda _: torch.device("cuda")))
