"""What a model is made of, as text and as a hash: all that can change a number."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unlearn.data.tokens import Encoder
from unlearn.models.adapter import base_of
from unlearn.models.places import is_folder_name
from unlearn.models.prepared import Prepared
from unlearn.options.schema import Dtype, ModelConfig, Quantize
from unlearn.storage.weights import hash_folder, hash_weights


def describe_base(config: ModelConfig, encoder: Encoder | None = None) -> dict[str, Any]:
    """Return what the base is made of, for the name of a cache entry.

    `encoder` makes the ids of a base with a tokenizer of its own; its chat template is named too.
    """
    common = {
        "dtype": Dtype.float32.value,  # in which every base learns, see `load_base`
        "template": config.template.value,
        "max_length": encoder.max_length if encoder else config.max_length,
        "system_prompt": config.system_prompt,
        "chat_date": config.chat_date,
        "fine_tuning": asdict(config.fine_tuning),
    }
    if encoder is not None:
        common |= encoder.rendering
    if config.path is None:
        return {**common, "tiny": asdict(config.tiny)}
    common |= _beside(config)
    if is_folder_name(config.path):
        weights = hash_model(config, config.path)
        return {**common, "weights": weights, "gguf_file": config.gguf_file}
    return {**common, "path": config.path, "revision": config.revision}


def hash_model(config: ModelConfig, path: str, weights: str | None = None) -> str:
    """Return the hash of a folder with all that can change a number, an adapter's base included.

    `weights` is the hash of the weights in it, where that is known already.
    """
    folder = Path(path).expanduser()
    found = hash_folder(folder, weights or hash_weights(folder))
    base = base_of(path, config.base)
    if base == path:
        return found
    local = is_folder_name(base)
    return f"{found} on {hash_model(config, base) if local else f'{base} {config.revision}'}"


def key_of(config: ModelConfig, prepared: Prepared | None, starts: bool = False) -> str | None:
    """Return what names a model's tables in the cache: all that can change a number.

    None for a model on the hub, whose tables are not kept. What a training `starts` from is with
    QLoRA the model as 4 bits hold it.
    """
    if prepared is None or prepared.sha256 is None:
        return None
    chosen = [hash_model(config, prepared.folder, prepared.sha256)]
    if config.attention is not None:
        chosen.append(config.attention.value)
    if config.dtype is not Dtype.float32:
        chosen.append(config.dtype.value)
    if starts and config.starts_in_4_bits:
        chosen.append(Quantize.nf4.value)
    if prepared.folder == config.path:
        chosen += [config.gguf_file or "", *_beside(config).values()]
    return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()


def _beside(config: ModelConfig) -> dict[str, str]:
    """Return what changes numbers and lies outside the model's folder; empty by default."""
    chosen = {}
    if config.tokenizer is not None:
        folder = Path(config.tokenizer).expanduser()
        chosen["tokenizer"] = hash_folder(folder) if folder.is_dir() else config.tokenizer
    if config.attention is not None:
        chosen["attention"] = config.attention.value
    return chosen
