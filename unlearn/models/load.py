"""Load any causal language model, and say which device and precision it runs in, and why."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch

from unlearn.compute.checkpointing import recompute_activations
from unlearn.compute.model import LanguageModel, positions_of
from unlearn.console.once import warn_once
from unlearn.errors import ConfigurationError, first_line
from unlearn.options.schema import ModelConfig

log = logging.getLogger(__name__)


def is_folder_name(path: str) -> bool:
    """Return whether `path` can only mean a folder: a hub id has one slash and no dot ahead."""
    return path.startswith((".", "/", "~")) or path.count("/") > 1 or Path(path).exists()


def check_path(field: str, path: str) -> list[str]:
    """Return the problem with a path that cannot be a model, before any library is asked."""
    folder = Path(path).expanduser()
    if not is_folder_name(path):
        return []
    if not folder.exists():
        return [f"{field}: {path!r} does not exist; give a folder with a saved model, or a hub id"]
    if any(folder.glob("*.gguf")):
        return []
    if any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors")):
        return [
            f"{field}: {path!r} holds its weights in a pickle (.bin), which is never loaded; save "
            "it anew with save_pretrained, which writes safetensors"
        ]
    if (folder / "config.json").is_file():
        return []
    return [
        f"{field}: {path!r} holds no config.json, so no saved model; give the folder that "
        "save_pretrained wrote"
    ]


def check_weights(field: str, path: str, gguf_file: str | None = None) -> list[str]:
    """Return the problem with a path whose weights cannot be loaded and trained exactly.

    Weights from `gguf_file` are dequantized on loading, whatever a config.json beside it says.
    """
    problems = check_path(field, path)
    file = Path(path).expanduser() / "config.json"
    if problems or gguf_file is not None or not is_folder_name(path) or not file.is_file():
        return problems
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        return [f"{field}: {path!r}: its config.json is no JSON: {first_line(error)}"]
    problem = quantization_problem(field, path, config.get("quantization_config"))
    return [] if problem is None else [problem]


def quantization_problem(field: str, path: str, quantization: Any) -> str | None:
    """Return the problem with a checkpoint whose configuration says that it is quantized."""
    if not quantization:
        return None
    kind = quantization.get("quant_method") if isinstance(quantization, dict) else None
    return (
        f"{field}: {path!r} is quantized (quantization_config"
        + (f": {kind}" if kind else "")
        + "), and quantized weights can neither be trained nor saved exactly; give the checkpoint "
        "it was made from, or dequantize it once: model.dequantize() and save_pretrained"
    )


def location_problems(config: ModelConfig) -> list[str]:
    """Return what is wrong with the paths of model and tokenizer."""
    problems = []
    if config.path is not None:
        problems = check_weights("model.path", config.path, config.gguf_file)
    if config.tokenizer is not None:
        for problem in check_path("model.tokenizer", config.tokenizer):
            problems.append(problem.replace("config.json", "tokenizer"))
    return problems


def number_of_layers(config: ModelConfig) -> int | None:
    """Return the model's depth by its configuration file alone; None where that cannot be read."""
    if config.path is None:
        return config.tiny.layers
    from transformers import AutoConfig

    folder = Path(config.path).expanduser()
    try:
        found = AutoConfig.from_pretrained(
            str(folder) if folder.is_dir() else config.path, revision=config.revision
        )
    except (OSError, ValueError):
        return None  # a GGUF file, or a hub that does not answer: the part itself refuses later
    return int(found.num_hidden_layers)


def longest_row(config: ModelConfig) -> int:
    """Return `model.max_length`, or the model's positions where there are fewer, which is said.

    By the model's configuration file alone; one that cannot be read has no say.
    """
    if config.path is None:
        return config.max_length
    from transformers import AutoConfig

    folder = Path(config.path).expanduser()
    try:
        found = AutoConfig.from_pretrained(
            str(folder) if folder.is_dir() else config.path, revision=config.revision
        )
    except (OSError, ValueError):
        return config.max_length
    positions = positions_of(found)
    if positions is None or positions >= config.max_length:
        return config.max_length
    warn_once(
        log,
        f"model.max_length={config.max_length}: the model has positions for {positions} tokens, "
        f"which is the most that a row may have here",
    )
    return positions


def load_tokenizer(config: ModelConfig, path: str) -> Any:
    """Return the tokenizer of the model at `path`, or the one that the configuration names."""
    from transformers import AutoTokenizer

    own = path == config.path
    source = config.tokenizer if own and config.tokenizer else path
    tokenizer = _load(AutoTokenizer, "model.tokenizer", source, _origin(config, source))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_weights(config: ModelConfig, path: str, field: str = "model.path") -> Any:
    """Return the model at `path`, which the option `field` named, on the CPU, in the set dtype.

    The dtype is always given: by default transformers loads in the checkpoint's own, and updates of
    bfloat16 weights at small rates are lost to rounding.
    """
    from transformers import AutoModelForCausalLM

    refuse_quantized(config, path, field)
    return _load(
        AutoModelForCausalLM,
        field,
        path,
        {
            "dtype": getattr(torch, config.dtype.value),
            "attn_implementation": config.attention.value,
            "use_safetensors": True,
            **_origin(config, path),
        },
    )


def refuse_quantized(config: ModelConfig, path: str, field: str = "model.path") -> None:
    """Raise ConfigurationError for quantized weights, by the configuration of `path` alone."""
    from transformers import AutoConfig

    origin = _origin(config, path)
    if "gguf_file" in origin:  # dequantized on loading
        return
    quantization = getattr(_load(AutoConfig, field, path, origin), "quantization_config", None)
    if problem := quantization_problem(field, path, quantization):
        raise ConfigurationError(problem)


def _origin(config: ModelConfig, path: str) -> dict[str, Any]:
    """Return revision and GGUF file, which belong to `config.path` and to no other model."""
    options = {"revision": config.revision, "gguf_file": config.gguf_file}
    return {k: v for k, v in options.items() if v is not None and path == config.path}


def _load(kind: Any, field: str, path: str, options: dict[str, Any]) -> Any:
    """Call `from_pretrained`, and say in our words what went wrong."""
    source = str(Path(path).expanduser()) if is_folder_name(path) else path
    try:
        return kind.from_pretrained(source, **options)
    except (OSError, ValueError, ImportError) as error:
        raise ConfigurationError(
            f"{field}: {source!r} cannot be loaded: {first_line(error)} "
            "(with HF_HUB_OFFLINE=1 only folders and models already downloaded are found)"
        ) from error


def _leave_as_it_is() -> None:
    """Stand in for what changes weights on the way."""


def ready(model: LanguageModel, config: ModelConfig, device: torch.device) -> Any:
    """Move the model to the device, in evaluation mode, and prepare it for training.

    It is trained in evaluation mode too: the automatic rate compares losses of one batch at
    different weights, which the noise of dropout would drown.
    """
    model = model.to(device).eval()
    for module in model.modules():
        # RWKV halves weights in place at its first pass in evaluation mode, for float16's sake, and
        # what is saved afterwards would be halved once more when it is loaded.
        if hasattr(module, "_rescale_layers"):
            vars(module)["_rescale_layers"] = _leave_as_it_is
    if config.gradient_checkpointing:
        recompute_activations(model)
    return model
