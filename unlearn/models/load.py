"""Load any causal language model, and say which device and precision it runs in, and why."""

from __future__ import annotations

import json
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from unlearn.compute.checkpointing import recompute_activations
from unlearn.compute.model import LanguageModel, positions_of
from unlearn.console.once import say_once, warn_once
from unlearn.errors import ConfigurationError, first_line
from unlearn.models.adapter import adapter_problems, base_of, is_adapter, merged
from unlearn.options.schema import ModelConfig

log = logging.getLogger(__name__)


def is_folder_name(path: str) -> bool:
    """Return whether `path` can only mean a folder: a hub id has one slash and no dot ahead."""
    return path.startswith((".", "/", "~")) or path.count("/") > 1 or Path(path).exists()


def check_path(field: str, path: str, base: str | None = None) -> list[str]:
    """Return the problem with a path that cannot be a model, before any library is asked.

    `base` is the option model.base, for an adapter.
    """
    folder = Path(path).expanduser()
    if not is_folder_name(path):
        return []
    if not folder.exists():
        return [f"{field}: {path!r} does not exist; give a folder with a saved model, or a hub id"]
    if any(folder.glob("*.gguf")):
        return []
    if is_adapter(path):
        return adapter_problems(field, path, base)
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


def check_weights(
    field: str, path: str, gguf_file: str | None = None, base: str | None = None
) -> list[str]:
    """Return the problem with a path whose weights cannot be loaded and trained exactly.

    Weights from `gguf_file` are dequantized on loading, whatever a config.json beside it says.
    """
    problems = check_path(field, path, base)
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
        problems = check_weights("model.path", config.path, config.gguf_file, config.base)
    if config.tokenizer is not None:
        for problem in check_path("model.tokenizer", config.tokenizer):
            problems.append(problem.replace("config.json", "tokenizer"))
    return problems


def number_of_layers(config: ModelConfig) -> int | None:
    """Return the model's depth by its configuration file alone; None where that cannot be read."""
    if config.path is None:
        return config.tiny.layers
    from transformers import AutoConfig

    path = base_of(config.path, config.base)
    folder = Path(path).expanduser()
    try:
        found = AutoConfig.from_pretrained(
            str(folder) if folder.is_dir() else path,
            revision=config.revision,
            trust_remote_code=False,
        )
    except (OSError, ValueError):
        return None  # a GGUF file, or a hub that does not answer: the part itself refuses later
    return int(found.num_hidden_layers)


def configuration_of(config: ModelConfig, path: str, field: str = "model.path") -> Any:
    """Return the configuration of the model at `path`, which the option `field` named."""
    from transformers import AutoConfig

    found = _load(AutoConfig, field, base_of(path, config.base), _origin(config, path))
    named = [getattr(one, "_attn_implementation", None) for one in (found, found.get_text_config())]
    if kernels := [name for name in named if "/" in str(name)]:
        raise ConfigurationError(
            f"{field}: {path!r} names {kernels[0]!r} of the hub as its attention, which is code "
            "and is not fetched; take attn_implementation out of its config.json"
        )
    return found


def files_of(config: ModelConfig, path: str) -> Path | None:
    """Return the folder with the files of a model, the hub's cache for an id; None without one."""
    from transformers.utils import cached_file

    path = base_of(path, config.base)
    if is_folder_name(path):
        return Path(path).expanduser()
    found = cached_file(path, "config.json", revision=config.revision, local_files_only=True)
    return None if found is None else Path(found).parent


UNKNOWN_LENGTH = 2048
"""Tokens for a model that names no limit, as of a recurrent one."""


def own_length(config: ModelConfig, path: str, tokenizer: Any) -> tuple[int, str]:
    """Return the most tokens that a checkpoint says it reads, and who says so."""
    positions = positions_of(configuration_of(config, path))
    limits = [] if positions is None else [(positions, "its positions")]
    if 8 <= tokenizer.model_max_length < 10**9:  # else it is transformers' word for "unknown"
        limits.append((int(tokenizer.model_max_length), "its tokenizer's model_max_length"))
    return min(limits, default=(UNKNOWN_LENGTH, "it names no limit"))


def longest_row(config: ModelConfig, path: str, tokenizer: Any) -> int:
    """Return `model.max_length`, or what the checkpoint says where that is null.

    Never more than the model has positions for, which is said.
    """
    if config.max_length is None:
        length, who = own_length(config, path, tokenizer)
        say_once(log, f"model.max_length: {length} tokens, by {who}")
        return length
    positions = positions_of(configuration_of(config, path))
    if positions is None or positions >= config.max_length:
        return config.max_length
    warn_once(
        log,
        f"model.max_length={config.max_length}: the model has positions for {positions} tokens, "
        "which is the most that a row may have here",
    )
    return positions


def load_tokenizer(config: ModelConfig, path: str) -> Any:
    """Return the tokenizer of the model at `path`, or the one that the configuration names."""
    from transformers import AutoTokenizer

    source = tokenizer_source(config, path)
    tokenizer = _load(AutoTokenizer, "model.tokenizer", source, _origin(config, source))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def tokenizer_source(config: ModelConfig, path: str) -> str:
    """Return where the tokenizer of the model at `path` lies: an adapter may have one, or not."""
    if path == config.path and config.tokenizer:
        return config.tokenizer
    own = not is_adapter(path) or (Path(path).expanduser() / "tokenizer_config.json").is_file()
    return path if own else base_of(path, config.base)


def foreign_tokens(tokenizer: Any, entries: int) -> list[str]:
    """Return the tokens whose ids a model of so many embeddings does not have.

    The padding token is none of them: padding is never read.
    """
    pad = tokenizer.pad_token
    return [t for t, number in tokenizer.get_vocab().items() if number >= entries and t != pad]


def refuse_larger_tokenizer(config: ModelConfig, path: str, tokenizer: Any) -> None:
    """Raise ConfigurationError where a tokenizer has ids that the model at `path` does not."""
    entries = getattr(configuration_of(config, path).get_text_config(), "vocab_size", None)
    if entries is None:
        return
    if foreign := foreign_tokens(tokenizer, entries):
        raise ConfigurationError(
            f"model.tokenizer: {tokenizer_source(config, path)!r} has {len(foreign)} tokens beyond "
            f"the {entries} embeddings of {path!r}, such as {foreign[0]!r}; give the tokenizer "
            "that the model was trained with, or resize the model once (resize_token_embeddings) "
            "and save it"
        )


def padding_within(found: Any) -> dict[str, None]:
    """Return what takes a padding id outside the embedding out of a configuration.

    transformers refuses to build an embedding for it, and nothing here reads padding.
    """
    text = found.get_text_config()
    pad, entries = getattr(text, "pad_token_id", None), getattr(text, "vocab_size", None)
    outside = isinstance(pad, int) and isinstance(entries, int) and not 0 <= pad < entries
    return {"pad_token_id": None} if outside else {}


def load_weights(config: ModelConfig, path: str, field: str = "model.path") -> Any:
    """Return the model at `path`, which the option `field` named, on the CPU, in the set dtype.

    The dtype is always given: by default transformers loads in the checkpoint's own, and updates of
    bfloat16 weights at small rates are lost to rounding.
    """
    from transformers import AutoModelForCausalLM

    refuse_quantized(config, path, field)
    base = base_of(path, config.base)
    model = _load(
        AutoModelForCausalLM,
        field,
        base,
        {
            "dtype": getattr(torch, config.dtype.value),
            **padding_within(configuration_of(config, path, field)),
            "use_safetensors": True,
            **({"attn_implementation": config.attention.value} if config.attention else {}),
            **_origin(config, path),
        },
    )
    return model if base == path else merged(model, path, field)


def refuse_quantized(config: ModelConfig, path: str, field: str = "model.path") -> None:
    """Raise ConfigurationError for quantized weights, by the configuration of `path` alone."""
    if "gguf_file" in _origin(config, path):  # dequantized on loading
        return
    quantization = getattr(configuration_of(config, path, field), "quantization_config", None)
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
        # Said each time: left out, transformers asks a terminal whether to run a model's own code.
        return kind.from_pretrained(source, trust_remote_code=False, **options)
    except (OSError, ValueError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise ConfigurationError(
                f"{field}: {source!r} needs code of its own (auto_map in its files), which is "
                "never run; give a model whose architecture and tokenizer transformers has itself"
            ) from error
        raise ConfigurationError(
            f"{field}: {source!r} cannot be loaded: {first_line(error)}{way_out(path, error)}"
        ) from error


def way_out(path: str, error: Exception) -> str:
    """Return what helps where a model or tokenizer does not load, as far as the reason is known."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError

    folder = Path(path).expanduser()
    if is_folder_name(path):
        pieces = [*folder.glob("*.model"), *folder.glob("*.tiktoken")]
        if pieces and not (folder / "tokenizer.json").is_file() and not find_spec("sentencepiece"):
            return (
                f"; its tokenizer lies in {pieces[0].name} alone, which needs one more package: "
                "pip install -e '.[sentencepiece]' in the checkout"
            )
        return ""
    if isinstance(error.__cause__, GatedRepoError) or "gated repo" in str(error):
        return (
            "; accept its terms on its page of the hub, log in once (hf auth login), and start "
            "again"
        )
    if constants.HF_HUB_OFFLINE:
        return " (with HF_HUB_OFFLINE=1 only folders and models already downloaded are found)"
    if isinstance(error, OSError) and "connect" in str(error):
        return (
            f"; without a connection: hf download {path} --local-dir DIR where there is one, and "
            "give the folder DIR"
        )
    return ""


def ready(model: LanguageModel, config: ModelConfig, device: torch.device) -> Any:
    """Move the model to the device, in evaluation mode, and prepare it for training.

    It is trained in evaluation mode too: the automatic rate compares losses of one batch at
    different weights, which the noise of dropout would drown.
    """
    model = model.to(device).eval()
    if config.gradient_checkpointing:
        recompute_activations(model)
    return model
