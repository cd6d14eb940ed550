"""Where prepared models lie between runs: one folder, the same for every run of a user."""

import os
from pathlib import Path


def cache_root() -> Path:
    """Return the cache folder: the environment variable UNLEARN_CACHE, else ``~/.cache/unlearn``.

    The folder need not exist yet; whoever writes into it creates it.
    """
    return Path(os.environ.get("UNLEARN_CACHE") or "~/.cache/unlearn").expanduser()


def cached_or(name: str, otherwise: str) -> str:
    """Return the path of the cached folder ``name`` if it is there, else ``otherwise``.

    The resolver behind ``${unlearn_cache:models/smollm2-135m,HuggingFaceTB/SmolLM2-135M-Instruct}``
    in the model presets: a model that was fetched once is used without anybody naming its path.
    """
    folder = cache_root() / name
    return str(folder) if folder.is_dir() else otherwise
