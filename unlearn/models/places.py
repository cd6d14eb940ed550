"""Where a model or tokenizer lies, and what is wrong with it before any library is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unlearn.data.foreign_files import name_problem
from unlearn.data.telling import shown
from unlearn.models.adapter import adapter_problems, is_adapter
from unlearn.models.folder_files import files_problems
from unlearn.options.schema import ModelConfig
from unlearn.storage.sealed import damage_if_sealed


def is_folder_name(path: str) -> bool:
    """Return whether `path` can only mean a folder: a hub id has one slash and no dot ahead."""
    if path.startswith((".", "/", "~")) or path.count("/") > 1:
        return True
    return name_problem(path) is None and Path(path).exists()


def check_path(field: str, path: str, base: str | None = None, weights: bool = True) -> list[str]:
    """Return the problem with a path that cannot be a model, before any library is asked.

    `base` is the option model.base, for an adapter. A folder of which the tokenizer alone is
    wanted may be without its `weights`.
    """
    if problem := name_problem(path):
        return [f"{field}: {shown(path)} {problem}; give a folder with a saved model, or a hub id"]
    folder = Path(path).expanduser()
    if not is_folder_name(path):
        return []
    if not folder.exists():
        return [f"{field}: {path!r} does not exist; give a folder with a saved model, or a hub id"]
    if not folder.is_dir():
        return [f"{field}: {path!r} is a file; give the folder that save_pretrained wrote"]
    if damage := damage_if_sealed(folder):
        return [f"{field}: {path!r} is damaged: {damage}; get it anew, or take its SHA256SUMS away"]
    if broken := files_problems(field, path, weights):
        return broken
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
    config = json.loads(file.read_text(encoding="utf-8"))  # which it is, see `files_problems`
    return quantization_problems(field, path, config.get("quantization_config"))


def quantization_problems(field: str, path: str, quantization: Any) -> list[str]:
    """Return the problem with a checkpoint whose configuration says that it is quantized."""
    if not quantization:
        return []
    kind = quantization.get("quant_method") if isinstance(quantization, dict) else None
    return [
        f"{field}: {path!r} is quantized (quantization_config"
        + (f": {kind}" if kind else "")
        + "), and quantized weights can neither be trained nor saved exactly; give the checkpoint "
        "it was made from, or dequantize it once: model.dequantize() and save_pretrained"
    ]


def location_problems(config: ModelConfig) -> list[str]:
    """Return what is wrong with the paths of model and tokenizer."""
    problems = []
    if config.path is not None:
        problems = check_weights("model.path", config.path, config.gguf_file, config.base)
    else:
        problems = [
            f"model.{name}: {value!r} is of a model of your own, and model.path is not set; give "
            f"model.path=FOLDER or hub id, or leave model.{name} out"
            for name in ("base", "tokenizer", "gguf_file")
            if (value := getattr(config, name)) is not None
        ]
    if config.tokenizer is not None and config.path is not None:
        for problem in check_path("model.tokenizer", config.tokenizer, weights=False):
            problems.append(problem.replace("config.json", "tokenizer"))
    return problems
