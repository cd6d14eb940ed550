"""A LoRA folder as a model: its base is loaded, and the adapter merged into it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from unlearn.data.foreign_files import name_problem
from unlearn.errors import ConfigurationError, said_by, to_install, translating

RECORD = "adapter_config.json"


def is_adapter(path: str) -> bool:
    """Return whether a folder holds an adapter and no whole model."""
    if name_problem(path):
        return False
    folder = Path(path).expanduser()
    return (folder / RECORD).is_file() and not any(folder.glob("model*.safetensors"))


def base_of(path: str, given: str | None) -> str:
    """Return the model that an adapter belongs to; the path itself where it is no adapter.

    `given` is the option model.base, which goes before what the adapter says of itself.
    """
    return (given or _named_base(path) or "") if is_adapter(path) else path


def adapter_problems(field: str, path: str, given: str | None) -> list[str]:
    """Return why an adapter cannot be merged here, before anything is loaded."""
    base = base_of(path, given)
    what = f"{field}: {path!r} is a LoRA adapter"
    problems = []
    if find_spec("peft") is None:
        problems.append(f"{what}, which needs peft to be merged: {to_install('lora')}")
    if not (Path(path).expanduser() / "adapter_model.safetensors").is_file():
        problems.append(
            f"{what} without adapter_model.safetensors; a pickle (.bin) is never loaded: save it "
            "anew with save_pretrained"
        )
    local = base.startswith((".", "/", "~")) or base.count("/") > 1
    if not base or (local and not Path(base).expanduser().is_dir()):
        named = f"of {base!r}, which is not there" if base else "that names no base model"
        problems.append(f"{what} {named}; give model.base=FOLDER or hub id of the base model")
    return problems


def merged(base: Any, path: str, field: str) -> Any:
    """Return `base` with the adapter in the folder `path` merged into its weights.

    Raises ConfigurationError where it does not fit the base, lacks a weight, or is of a kind that
    has no sum.
    """
    from peft import PeftModel

    def told(error: BaseException) -> ConfigurationError:
        return ConfigurationError(
            f"{field}: the adapter in {path!r} cannot be merged into its base: {said_by(error)}"
        )

    with translating(told), quiet():
        warnings.filterwarnings("error", "Found missing adapter keys", UserWarning)
        adapted = PeftModel.from_pretrained(base, str(Path(path).expanduser()))
        return adapted.merge_and_unload().requires_grad_(True)  # peft freezes the base


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what peft says of itself: names of transformers' last version, what it mends, tied
    layers, which are refused here, and ranks of experts, which it finds among tensors all the same.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for said in ("fan_in_fan_out is set to", "Model has `tie_word_embeddings"):
            warnings.filterwarnings("ignore", said, UserWarning)
        warnings.filterwarnings("ignore", r"The following \w+_pattern keys", RuntimeWarning)
        yield


def _named_base(path: str) -> str | None:
    """Return the base that an adapter names; a folder is also looked for beside the adapter."""
    folder = Path(path).expanduser()
    try:
        named = json.loads((folder / RECORD).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(named, str) or name_problem(named):
        return None
    beside = folder / named
    return str(beside) if named and beside.is_dir() else named
