"""Ways to train a model that differ in the bytes that they keep of each weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from unlearn.compute.optimizers import adamw_8bit, maker_8bit
from unlearn.models.four_bits import BLOCK, SCALES, packing_problems
from unlearn.options.schema import AdapterConfig, Dtype, ModelConfig, Quantize, TrainingConfig

FLOAT32, BFLOAT16 = 4, 2
NF4 = (4 + 8 / BLOCK + 32 / (BLOCK * SCALES)) / 8
"""Bytes of a weight of the layers that QLoRA keeps in 4 bits, scales included."""
ADAM, ADAM_8BIT = 8.0, 2.03
"""Bytes of the optimizer's state for each number that is trained."""


@dataclass(frozen=True)
class Recipe:
    """A way to train: what is kept of each weight, and the words that choose it."""

    name: str
    words: tuple[str, ...] = ()
    weight: int = FLOAT32
    """Bytes of a weight of the model, layers in 4 bits apart; what is trained of an adapter has
    four."""
    state: float = ADAM
    parked: bool = False
    adapter: AdapterConfig | None = None
    probes: bool = True
    """Whether scheduler=gen works with it."""

    @property
    def bytes_held(self) -> float:
        """Bytes a weight, where every one of them is trained."""
        return (3 - self.parked) * self.weight + self.state


RECIPES = (
    Recipe("full"),
    Recipe("8-bit", ("optimizer=adamw_8bit",), state=ADAM_8BIT),
    Recipe(
        "bf16, 8-bit",
        ("model.dtype=bfloat16", "optimizer=adamw_8bit", "scheduler=cosine"),
        BFLOAT16,
        ADAM_8BIT,
        probes=False,
    ),
    Recipe(
        "bf16, 8-bit, parked",
        (
            *("model.dtype=bfloat16", "optimizer=adamw_8bit", "scheduler=cosine"),
            "training.park_gradient=true",
        ),
        BFLOAT16,
        ADAM_8BIT,
        parked=True,
        probes=False,
    ),
    Recipe("LoRA", ("model/adapter=lora",), adapter=AdapterConfig()),
    Recipe(
        "LoRA, bf16",
        ("model/adapter=lora", "model.dtype=bfloat16"),
        BFLOAT16,
        adapter=AdapterConfig(),
    ),
    Recipe(
        "QLoRA",
        ("model/adapter=qlora", "model.dtype=bfloat16"),
        BFLOAT16,
        adapter=AdapterConfig(quantize=Quantize.nf4),
    ),
)
"""From the one that changes least to the one that needs least."""
SPARE = 0.9
"""Share of a card that tensors may fill: the rest is the driver's, and gaps between them."""
TAUGHT = 16
"""Bytes a weight of a model that learns its rows first: float32, its gradient, AdamW's moments."""
TRIED = 8192
"""Weights with which an optimizer shows how much it keeps of each."""


def recipe_of(
    model: ModelConfig, training: TrainingConfig, optimizer: Callable[..., Optimizer]
) -> Recipe:
    """Return what a configuration asks for."""
    return Recipe(
        "as asked for",
        (),
        BFLOAT16 if model.dtype is Dtype.bfloat16 else FLOAT32,
        state_of(optimizer),
        training.park_gradient,
        model.adapter,
    )


def state_of(maker: Callable[..., Optimizer]) -> float:
    """Return the bytes that an optimizer keeps of each number that it trains."""
    if getattr(maker, "func", maker) is adamw_8bit:
        return ADAM_8BIT
    weight = Parameter(torch.zeros(TRIED))
    weight.grad = torch.ones(TRIED)
    optimizer = maker([weight])
    try:
        optimizer.step()
    except Exception:  # of a user's own, which may need more than a gradient
        return ADAM
    kept = [one for one in optimizer.state[weight].values() if isinstance(one, torch.Tensor)]
    return sum(one.numel() * one.element_size() for one in kept if one.numel() > 1) / TRIED


def held(count: int, recipe: Recipe) -> float:
    """Return the bytes that a step holds of a model with so many weights, activations apart.

    An adapter is a hundredth of it, which is left out, as is what embeddings and output layer take
    beyond 4 bits: which share they are, the model's structure alone tells.
    """
    if recipe.adapter is None:
        return count * recipe.bytes_held
    return count * (NF4 if recipe.adapter.in_4_bits else recipe.weight)


def there(recipe: Recipe, device: torch.device) -> bool:
    """Return whether what a recipe needs is installed, and works on the device."""
    if recipe.adapter is not None and recipe.adapter.in_4_bits:
        return not packing_problems(device)
    return "optimizer=adamw_8bit" not in recipe.words or maker_8bit() is not None
