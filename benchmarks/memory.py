"""The peak memory of a step, measured, beside what `unlearn --plan` says of it.

    python -m benchmarks.memory --shape small --recipe full

Each measurement wants a process of its own: what an earlier one left would count as there already.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from unlearn.compute.device import Compute
from unlearn.compute.memory import free_memory
from unlearn.compute.optimizers import adamw, adamw_8bit
from unlearn.data.batches import PairedBatches
from unlearn.data.tokens import Example
from unlearn.models.lora import Adapter
from unlearn.objectives import Ascent, NegativeLogLikelihood
from unlearn.options.schema import TrainingConfig
from unlearn.schedulers import Constant
from unlearn.training.footprint import Rows, footprint
from unlearn.training.method import Method
from unlearn.training.recipes import ADAM, FLOAT32, RECIPES, Recipe
from unlearn.training.trainer import Trainer
from unlearn.weightings import NGDiff, Weighting

SHAPES: dict[str, tuple[dict[str, int], Rows]] = {
    # 30 M weights and hardly an activation: what is held is all that there is.
    "held": (
        {"hidden_size": 512, "intermediate_size": 2048, "layers": 7, "vocab_size": 1024},
        Rows(1, 8, 4),
    ),
    "deep": ({"hidden_size": 256, "intermediate_size": 1024, "layers": 24}, Rows(4, 128, 64)),
    "wide": ({"hidden_size": 768, "intermediate_size": 2048, "layers": 3}, Rows(4, 256, 128)),
    "long": ({"hidden_size": 384, "intermediate_size": 1024, "layers": 8}, Rows(2, 512, 64, 2)),
}
"""What a Llama is, and the rows that pass it at once."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt."""


def config_of(shape: dict[str, int], tokens: int) -> LlamaConfig:
    """Return the configuration of a Llama, with 4096 words where the shape names no number."""
    heads = shape["hidden_size"] // (64 if shape["hidden_size"] < 4096 else 128)
    return LlamaConfig(
        vocab_size=shape.get("vocab_size", 4096),
        hidden_size=shape["hidden_size"],
        intermediate_size=shape["intermediate_size"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=heads,
        num_key_value_heads=shape.get("key_value_heads", heads),
        max_position_embeddings=max(tokens, 64),
        tie_word_embeddings=not shape.get("untied"),
    )


def trainer_of(
    config: LlamaConfig,
    recipe: Recipe,
    rows: Rows,
    device: torch.device,
    weighting: Weighting | None = None,
    shares: Sequence[float] = (1.0,),
) -> Trainer:
    """Return a training of a model with random weights by a recipe.

    `weighting` None is NGDiff. Rows have these shares of their tokens, in turn.
    """
    dtype = torch.float32 if recipe.weight == FLOAT32 else torch.bfloat16
    kept = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with device:
        model: Any = LlamaForCausalLM(config).eval()
    torch.set_default_dtype(kept)
    if recipe.adapter is not None:
        Adapter(model, recipe.adapter, seed=0)
    ids = torch.randint(2, config.vocab_size, (2 * rows.rows * rows.micro_batches, rows.tokens))
    prompt = rows.tokens - rows.answer
    parts = [
        (row[: int(share * prompt)], row[prompt : prompt + int(share * rows.answer)])
        for row, share in zip(ids.tolist(), cycle(shares), strict=False)
    ]
    examples = [Example(tuple(asked), tuple(answer)) for asked, answer in parts]
    half = len(examples) // 2
    batches = PairedBatches(examples[:half], examples[half:], half, rows.rows, seed=0)

    def optimizer(parameters: Any) -> Any:
        if recipe.state == ADAM:
            return adamw(parameters, lr=1e-5, weight_decay=0.0)
        return adamw_8bit(parameters, lr=1e-5)

    plan: Any = SimpleNamespace(
        method=Method(
            *(Ascent(), NegativeLogLikelihood(), weighting or NGDiff()),
            name="ngdiff",
            interventions={},
        ),
        scheduler=Constant(),
        optimizer=optimizer,
        training=TrainingConfig(steps=10**6, park_gradient=recipe.parked),
    )
    return Trainer(model, plan, batches, Compute(device))


def resident(what: str) -> int:
    """Return VmRSS or VmHWM, the most so far, in bytes."""
    found = re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found is not None
    return 1024 * int(found[1])


def measure(shape: dict[str, int], rows: Rows, recipe: Recipe, steps: int = 2) -> dict[str, int]:
    """Return the bytes of the plan and the peak of this process over what it had before."""
    device = torch.device("cpu")
    config = config_of(shape, rows.tokens)
    planned = footprint(config, recipe, rows, autocast=False, checkpointing=False)
    small = config_of({**shape, "layers": 1, "vocab_size": 512}, rows.tokens)
    warm = trainer_of(small, recipe, rows, device)
    for _ in range(2):
        warm.step()
    del warm
    free_memory()  # peft's layers hold each other
    before = resident("VmRSS")
    trainer = trainer_of(config, recipe, rows, device)
    # The most so far is forgotten, such as a model before it is packed.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    for _ in range(steps):
        trainer.step()
    measured = resident("VmHWM") - before
    return {"held": planned.held, "planned": planned.peak, "measured": measured}


def give_back_at_once() -> None:
    """Let glibc give back every larger block that is freed: resident memory is what is held."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            libc.mallopt(parameter, 2**16)


def main() -> None:
    """Read the options, measure, print a line of JSON."""
    recipes = {recipe.name: recipe for recipe in RECIPES}
    parser = argparse.ArgumentParser("python -m benchmarks.memory")
    parser.add_argument("--shape", choices=SHAPES, default="held")
    parser.add_argument("--recipe", choices=recipes, default="full")
    options = parser.parse_args()
    give_back_at_once()
    print(json.dumps(measure(*SHAPES[options.shape], recipes[options.recipe])))


if __name__ == "__main__":
    main()
