"""What is wrong with the files of a model's folder, from the outside: before a library reads one.

Truncated weights, a pointer of git-LFS in place of them, a pipe, JSON that no reader can take: each
library says so in its own way, or waits. Nothing here reads more than headers and small files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unlearn.data.foreign_files import FETCH, POINTER, file_problem
from unlearn.errors import said_by
from unlearn.record.limits import DEEPEST, require_shallow

LARGEST_SMALL = 16 * 2**20
"""Bytes of a configuration or an index of weights."""
LARGEST_TOKENIZER = 512 * 2**20
"""Bytes of a vocabulary; the largest known tokenizer.json has 50 million."""
LARGEST_TEMPLATE = 2**20
"""Bytes of a chat template."""
LARGEST_HEADER = 100 * 10**6
"""Bytes of a safetensors file's header, by its definition."""
ANEW = "get the file anew"
OBJECTS = {
    *("config.json", "generation_config.json", "adapter_config.json", "preparation.json"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "chat_template.json"),
    *("special_tokens_map.json", "added_tokens.json", "model.safetensors.index.json"),
}
"""Files that hold an object of JSON, whatever the architecture."""


def files_problems(field: str, path: str, weights: bool = True) -> list[str]:
    """Return what is wrong with the files in a folder that the option `field` named.

    `weights`: whether those are loaded, too.
    """
    folder = Path(path).expanduser()
    loaded = weights_of(folder) if weights else []
    try:
        files = [one for one in sorted(folder.iterdir()) if one in loaded or not one.is_dir()]
    except OSError as error:
        return [f"{field}: {path!r} cannot be read ({error.strerror})"]
    problems = {one.name: _problem(one, one in loaded) for one in files if one.name[0] != "."}
    return [f"{field}: {path!r}: its {name} {said}" for name, said in problems.items() if said]


def weights_of(folder: Path) -> list[Path]:
    """Return the files of weights that are loaded; others may lie beside them, fetched or not."""
    for name in ("model.safetensors", "adapter_model.safetensors"):
        if (folder / name).exists() or (folder / name).is_symlink():
            return [folder / name]
    return sorted(folder.glob("model-*-of-*.safetensors"))


def elements_of(folder: Path) -> int | None:
    """Return the numbers in the safetensors files of a folder by their headers; None without any.

    Raises ValueError for a file that is none.
    """
    counts = [
        math.prod(tensor["shape"]) for file in weights_of(folder) for tensor in _tensors(file)
    ]
    return sum(counts) if counts else None


def _problem(file: Path, weights: bool) -> str | None:
    """Return what is wrong with one file, whose name says what it should be."""
    if not weights and not _is_read(file):
        return file_problem(file, 2**62) if file.exists() else None  # saving copies what is small
    most = 2**62 if weights else _largest(file)
    if problem := file_problem(file, most):
        return f"{problem}; {ANEW}"
    with file.open("rb") as opened:
        begins = opened.read(len(POINTER))
    if begins == POINTER:
        return f"cannot be read: {FETCH}"
    if not begins:
        return f"is empty; {ANEW}"
    try:
        if weights:
            for _ in _tensors(file):
                pass
        elif file.name in OBJECTS:
            _object(file)
    except (ValueError, OSError) as error:
        return f"{said_by(error)}; {ANEW}"
    return None


def _is_read(file: Path) -> bool:
    """Return whether a library reads a file of this name as configuration or tokenizer."""
    vocabulary = file.suffix in (".model", ".tiktoken") or file.name in ("vocab.txt", "merges.txt")
    return vocabulary or file.suffix == ".jinja" or file.name in OBJECTS


def _largest(file: Path) -> int:
    if file.suffix == ".jinja":
        return LARGEST_TEMPLATE
    small = file.name.endswith(("config.json", ".index.json"))
    return LARGEST_SMALL if small else LARGEST_TOKENIZER


def _object(file: Path) -> None:
    """Raise ValueError where a file does not hold an object of JSON that libraries can walk."""
    configuration = file.name.endswith("config.json")
    content = file.read_bytes()
    if not configuration and not content.lstrip().startswith(b"{"):
        raise ValueError("holds no JSON object")
    if not configuration and len(content) > LARGEST_SMALL:
        return  # a vocabulary: its library reads it once, and says what is wrong
    try:
        value = json.loads(content, parse_constant=_constant if configuration else None)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"is no text of UTF-8 ({error})") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error})") from None
    except ValueError as error:  # an integer of more digits than Python reads
        raise ValueError(f"cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"holds no JSON object but {type(value).__name__}")
    try:
        require_shallow(value, file.name)
    except ValueError:
        raise ValueError(f"is nested more than {DEEPEST} deep") from None


def _constant(word: str) -> float:
    """Return infinity, which limits of some configurations are; raises ValueError for NaN."""
    if word == "NaN":
        raise ValueError("NaN is no number")
    return float(word)


def _tensors(file: Path) -> Iterator[dict[str, Any]]:
    """Yield what the header of a safetensors file says of each tensor.

    Raises ValueError where it is no such file, or shorter than its header says.
    """
    if problem := file_problem(file, 2**62):
        raise ValueError(problem)
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > min(size - 8, LARGEST_HEADER):
            raise ValueError("is no safetensors file, or cut in its header")
        try:
            header = json.loads(opened.read(length))
            tensors = [value for name, value in header.items() if name != "__metadata__"]
            ends = [int(tensor["data_offsets"][1]) for tensor in tensors]
            whole = all(
                isinstance(n, int) and 0 <= n < 2**62 for tensor in tensors for n in tensor["shape"]
            )
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            whole = False
        if not whole:
            raise ValueError("has a broken header, so it is no safetensors file")
    held, there = max(ends, default=0), size - 8 - length
    if held > there:
        raise ValueError(f"is cut: {there:,} of {held:,} bytes of weights are there")
    yield from tensors
