"""Saved models: written whole or not at all, and the hash of their weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from unlearn.compute.processes import is_main
from unlearn.compute.sharding import Weights, is_sharded_model, state_of
from unlearn.storage.sealed import file_sha256, sealed_folder


def hash_weights(folder: Path) -> str:
    """Return one SHA-256 over all weight files of a saved model."""
    hashes = []
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.gguf")]):
        if not path.is_file():
            continue  # a pipe, which would be waited for; transformers does not load one either
        hashes.append(file_sha256(path))
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


SMALL_FILES = {".json", ".jinja", ".model", ".tiktoken", ".txt"}
"""Endings of configuration, generation configuration, tokenizer and chat template."""
IDLE = {"preparation.json", "progress.json", "license.txt", "notice.txt", "requirements.txt"}
"""Files with such an ending that change no number."""


def hash_folder(folder: Path, weights: str = "") -> str:
    """Return one SHA-256 over all of a saved model that can change a number.

    `weights` is what :func:`hash_weights` says; a tokenizer's folder has none. What stands beside
    them decides as much: a base of rotation, an end token, a line of the chat template.
    """
    parts = [weights]
    for path in sorted([*folder.glob("*"), *folder.glob("additional_chat_templates/*")]):
        small = path.suffix in SMALL_FILES and path.name.lower() not in IDLE
        if small and path.is_file() and not path.name.startswith("."):
            name = path.relative_to(folder).as_posix()
            parts.append(f"{name} {file_sha256(path)}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class _Written:
    """A file that remembers why it could not be written, which torch forgets on the way."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.refusal: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of the data."""
        try:
            return self.file.write(data)
        except OSError as error:
            self.refusal = error
            raise

    def flush(self) -> None:
        self.file.flush()


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values as `torch.save` does; raises OSError on a full disk."""
    with path.open("wb") as file:
        written: Any = _Written(file)
        try:
            torch.save(dict(state), written)
        except RuntimeError as error:  # "unexpected pos 576 vs 534"
            if written.refusal is None:
                raise
            raise written.refusal from error


class Savable(Weights, Protocol):
    """What is trained and kept: a whole model, or the adapter of one."""

    def save_pretrained(self, folder: Path) -> None: ...


def whole_state(model: Weights) -> dict[str, Any]:
    """Return what `save_pretrained` is to be told on rank 0: the gathered state of a sharded model.

    Every process is to ask for it.
    """
    return {"state_dict": state_of(model)} if is_sharded_model(model) else {}


def save_model(
    model: Savable,
    tokenizer: Any,
    folder: Path,
    besides: Callable[[Path], object] | None = None,
) -> None:
    """Write a state to go on from, as `save_pretrained` does (safetensors); all of it or nothing.

    It is sealed (:mod:`unlearn.storage.sealed`), and replaces what is there already. `besides`
    writes more files into the same folder. Of several processes all call it, and rank 0 writes.
    """
    state = whole_state(model)
    if not is_main():
        return
    with sealed_folder(folder) as unfinished:
        model.save_pretrained(unfinished, **state)
        tokenizer.save_pretrained(unfinished)
        if besides is not None:
            besides(unfinished)
