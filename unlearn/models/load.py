"""Load any causal language model: its configuration, its tokenizer, its weights."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from unlearn.compute.checkpointing import recompute_activations
from unlearn.compute.device import Compute
from unlearn.compute.memory import explaining_memory
from unlearn.compute.model import LanguageModel
from unlearn.compute.sharding import shard_
from unlearn.errors import ConfigurationError, lacks_memory, said_by, to_install, translating
from unlearn.forward.answers import layers_of
from unlearn.forward.packing import compare_rows
from unlearn.models.adapter import base_of, is_adapter, merged
from unlearn.models.places import is_folder_name, quantization_problems
from unlearn.models.sizes import number_problems, require_computes, require_room, weights_of
from unlearn.models.whole import require_finite, require_whole
from unlearn.options.schema import ModelConfig

SMALLER = "take model.dtype=bfloat16 with model/adapter=lora, a smaller model, or more memory"
"""What helps where the weights alone do not fit."""
DAMAGED = "; its files are damaged, or do not belong together: get them anew"


def number_of_layers(config: ModelConfig) -> int | None:
    """Return the model's depth by its configuration file alone; None where that cannot be read."""
    if config.path is None:
        return config.tiny.layers
    try:
        return int(configuration_of(config, config.path).num_hidden_layers)
    except ConfigurationError:
        return None  # such as of a hub that does not answer: the part itself refuses later


def number_of_weights(config: ModelConfig) -> int | None:
    """Return how many weights a model has by its configuration alone; None where that says nothing.

    The tiny model's are not counted: they fit anywhere.
    """
    if config.path is None:
        return None
    try:
        return weights_of(configuration_of(config, config.path))
    except Exception:  # what cannot be built is told where it is loaded
        return None


def configuration_of(config: ModelConfig, path: str, field: str = "model.path") -> Any:
    """Return the configuration of the model at `path`, which the option `field` named.

    Raises ConfigurationError where its weights are quantized; those of GGUF are not, once loaded.
    """
    from transformers import AutoConfig

    origin = _origin(config, path)
    found = _load(AutoConfig, field, base_of(path, config.base), origin)
    if problems := number_problems(field, path, found):
        raise ConfigurationError(problems)
    quantization = getattr(found, "quantization_config", None)
    problems = quantization_problems(field, path, quantization)
    if problems and "gguf_file" not in origin:
        raise ConfigurationError(problems)
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


def load_tokenizer(config: ModelConfig, path: str) -> Any:
    """Return the tokenizer of the model at `path`, or the one that the configuration names."""
    from transformers import AutoTokenizer

    source = tokenizer_source(config, path)
    field = "model.path" if source == config.path else "the model"
    field = "model.tokenizer" if source == config.tokenizer else field
    tokenizer = _load(AutoTokenizer, field, source, _origin(config, source))
    require_reads(tokenizer, field, source)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def require_reads(tokenizer: Any, field: str, source: str) -> None:
    """Raise ConfigurationError where a tokenizer cannot make tokens of a letter and text of them.

    A vocabulary without entries, or with the ids of another, shows at the first text only.
    """

    def told(error: BaseException) -> ConfigurationError:
        return ConfigurationError(
            f"{field}: the tokenizer of {source!r} cannot be used ({said_by(error)}); give one "
            "with model.tokenizer=FOLDER, or get its files anew"
        )

    with translating(told):
        ids = tokenizer.encode("x", add_special_tokens=False)
        if not ids:
            raise ValueError("it makes no token of the letter x")
        tokenizer.decode(ids)
        tokenizer.convert_ids_to_tokens(tokenizer.encode("A text, with spaces."))
        special = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
        if strange := [one for one in special if one is not None and not isinstance(one, int)]:
            raise TypeError(f"the id of a control token is {strange[0]!r}")


def tokenizer_source(config: ModelConfig, path: str) -> str:
    """Return where the tokenizer of the model at `path` lies: an adapter may have one, or not."""
    if path == config.path and config.tokenizer:
        return config.tokenizer
    own = not is_adapter(path) or (Path(path).expanduser() / "tokenizer_config.json").is_file()
    return path if own else base_of(path, config.base)


def entries_of(found: Any) -> int | None:
    """Return the embeddings that a configuration names; None where it names none."""
    return getattr(found.get_text_config(), "vocab_size", None)


def padding_within(found: Any) -> dict[str, None]:
    """Return what takes a padding id outside the embedding out of a configuration.

    transformers refuses to build an embedding for it, and nothing here reads padding.
    """
    pad, entries = getattr(found.get_text_config(), "pad_token_id", None), entries_of(found)
    outside = isinstance(pad, int) and isinstance(entries, int) and not 0 <= pad < entries
    return {"pad_token_id": None} if outside else {}


def load_weights(config: ModelConfig, path: str, field: str = "model.path") -> Any:
    """Return the model at `path`, which the option `field` named, on the CPU, in the set dtype.

    The dtype is always given: by default transformers loads in the checkpoint's own, and updates of
    bfloat16 weights at small rates are lost to rounding. Raises ConfigurationError where a tensor
    is missing, of another shape than the configuration says, or not finite.
    """
    from transformers import AutoModelForCausalLM

    base = base_of(path, config.base)
    shape = configuration_of(config, path, field)
    if is_folder_name(base) and "gguf_file" not in _origin(config, path):
        require_room(shape, Path(base).expanduser(), field, base)
    model, found = _load(
        AutoModelForCausalLM,
        field,
        base,
        {
            "dtype": getattr(torch, config.dtype.value),
            **padding_within(shape),
            "use_safetensors": True,
            "output_loading_info": True,
            "ignore_mismatched_sizes": True,  # or a table of them is all that is raised
            **({"attn_implementation": config.attention.value} if config.attention else {}),
            **_origin(config, path),
        },
    )
    require_whole(model, found, field, base)
    if base != path:
        model = merged(model, path, field)
    require_finite(model, field, path)
    return model


def _origin(config: ModelConfig, path: str) -> dict[str, Any]:
    """Return revision and GGUF file, which belong to `config.path` and to no other model."""
    options = {"revision": config.revision, "gguf_file": config.gguf_file}
    return {k: v for k, v in options.items() if v is not None and path == config.path}


def _load(kind: Any, field: str, path: str, options: dict[str, Any]) -> Any:
    """Call `from_pretrained`, and say in our words what went wrong."""
    source = str(Path(path).expanduser()) if is_folder_name(path) else path

    def told(error: BaseException) -> ConfigurationError:
        if "trust_remote_code" in str(error):
            return ConfigurationError(
                f"{field}: {source!r} needs code of its own (auto_map in its files), which is "
                "never run; give a model whose architecture and tokenizer transformers has itself"
            )
        if lacks_memory(error):
            return ConfigurationError(
                f"{field}: {source!r} does not fit into memory ({said_by(error)}); {SMALLER} "
                "(ulimit -v, the limit of the job)"
            )
        return ConfigurationError(
            f"{field}: {source!r} cannot be loaded: {said_by(error)}{way_out(path, error)}"
        )

    with translating(told):
        # Said each time: left out, transformers asks a terminal whether to run a model's own code.
        return kind.from_pretrained(source, trust_remote_code=False, **options)


def way_out(path: str, error: BaseException) -> str:
    """Return what helps where a model or tokenizer does not load, as far as the reason is known."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError

    folder = Path(path).expanduser()
    if is_folder_name(path):
        pieces = [*folder.glob("*.model"), *folder.glob("*.tiktoken")]
        if pieces and not (folder / "tokenizer.json").is_file() and not find_spec("sentencepiece"):
            return (
                f"; its tokenizer lies in {pieces[0].name} alone, which needs one more package: "
                + to_install("sentencepiece")
            )
        return DAMAGED
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


def _leave_as_it_is() -> None:
    """Stand in for what changes weights on the way."""


def _moved(model: LanguageModel, device: torch.device) -> LanguageModel:
    return model.to(device)


def ready(
    model: LanguageModel,
    config: ModelConfig,
    compute: Compute,
    move: Callable[[LanguageModel, torch.device], LanguageModel] = _moved,
) -> Any:
    """Move the model to its device or devices, in evaluation mode, and prepare it for training.

    It is trained in evaluation mode too: the automatic rate compares losses of one batch at
    different weights, which the noise of dropout would drown.
    """
    device = compute.device
    with explaining_memory(f"model.device: the model does not fit {device}", SMALLER):
        if compute.sharded:
            shard_(model, layers_of(model), device)
            compare_rows(model.eval())
        else:
            model = move(model, device).eval()
    for module in model.modules():
        # RWKV halves weights in place at its first pass in evaluation mode, for float16's sake, and
        # what is saved afterwards would be halved once more when it is loaded.
        if hasattr(module, "_rescale_layers"):
            vars(module)["_rescale_layers"] = _leave_as_it_is
    if config.path is not None:
        require_computes(model, device)
    if config.gradient_checkpointing:
        recompute_activations(model)
    return model
