"""Saved models: written whole or not at all, and the hash of their weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unlearn.compute.model import LanguageModel
from unlearn.storage.files import whole_folder


def hash_weights(folder: Path) -> str:
    """Return one SHA-256 over all weight files of a saved model."""
    hashes = []
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.gguf")]):
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def save_model(
    model: LanguageModel,
    tokenizer: Any,
    folder: Path,
    besides: Callable[[Path], object] | None = None,
) -> None:
    """Write what `save_pretrained` writes (safetensors, never a pickle); all of it or nothing.

    What is there already is replaced. `besides` writes more files into the same folder.
    """
    with whole_folder(folder) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        if besides is not None:
            besides(unfinished)
