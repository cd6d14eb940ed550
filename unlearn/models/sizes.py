"""Whether the numbers of a model's configuration can be meant, before and after it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from unlearn.compute.model import LanguageModel, plain_output
from unlearn.errors import ConfigurationError, UnlearnError, lacks_memory, said_by, translating
from unlearn.models.folder_files import elements_of

LARGEST_NUMBERS = {
    "num_hidden_layers": 2_000,
    "hidden_size": 10**6,
    "vocab_size": 10**8,
    "num_attention_heads": 10**5,
    "max_position_embeddings": 10**9,
}
"""Numbers that every architecture has under these names, and the most that any can be."""
SPARE = 10**8
"""Weights that a model may have beyond its files: which are missing is told once it is built."""


def number_problems(field: str, path: str, found: Any) -> list[str]:
    """Return the numbers of a configuration that no model can have."""
    shape = found.get_text_config()
    problems = []
    for name, most in LARGEST_NUMBERS.items():
        value = getattr(shape, name, None)
        if value is None or isinstance(value, (list, tuple)):  # not of this one; one of each layer
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            said = repr(value)[:60]
            problems.append(
                f"{field}: {path!r}: {name} in its config.json is {said}; allowed: 1 to {most:,}"
            )
    precision = getattr(found, "dtype", None)
    if precision is not None and not isinstance(precision, torch.dtype):
        said = repr(precision)[:60]
        problems.append(f"{field}: {path!r}: dtype in its config.json is {said}, no precision")
    return problems


def require_room(found: Any, folder: Path, field: str, path: str) -> None:
    """Raise ConfigurationError where a configuration describes far more than the files hold.

    Built without memory, on torch's device `meta`: what the files lack would be drawn at random in
    full size, which ends the process where a number has three zeros too many.
    """
    try:
        stored = elements_of(folder)
        if stored is None:
            return
        described = weights_of(found)
    except Exception:  # what cannot be built is told where it is loaded
        return
    if described > 2 * stored + SPARE:
        raise ConfigurationError(
            f"{field}: {path!r}: its config.json describes a model of {described:,} weights, and "
            f"its files hold {stored:,}; give the config.json that belongs to them"
        )


def weights_of(found: Any) -> int:
    """Return how many weights a configuration describes, without memory for them."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(found, trust_remote_code=False)
        return sum(weight.numel() for weight in model.parameters())


@torch.no_grad()
def require_computes(model: LanguageModel, device: torch.device) -> None:
    """Raise ConfigurationError where a model cannot read eight tokens, or answers with no number.

    Heads that do not divide, a rotation of an unknown kind and the like show at the first pass.
    """
    path = getattr(model, "name_or_path", "")

    def told(error: BaseException) -> UnlearnError:
        if lacks_memory(error):
            return UnlearnError(f"the model {path!r} does not fit into memory: {said_by(error)}")
        return ConfigurationError(
            f"the model {path!r} was loaded, and cannot compute ({said_by(error)}); the numbers "
            "in its config.json do not belong together, or this device lacks what it needs"
        )

    with translating(told):
        ids = torch.arange(8, device=device)[None] * 7 % model.get_input_embeddings().num_embeddings
        asked = {"attention_mask": torch.ones_like(ids), "use_cache": False, **plain_output(model)}
        logits = model(input_ids=ids, **asked).logits
        if not bool(logits.isfinite().all()):
            raise ValueError("its logits are not finite")
