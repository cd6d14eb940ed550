"""What runs share: one folder of a user's, with entries that are named by what made them.

An entry is a file or folder, written whole or not at all under a lock, so that parallel jobs make
it once and nobody ever reads half of one.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from unlearn.errors import ConfigurationError

log = logging.getLogger(__name__)

Value = TypeVar("Value")


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


def entry_of(kind: str, made_of: str, suffix: str = "") -> Path:
    """Return the place of the entry of this kind that `made_of`, as text, names."""
    return cache_root() / kind / f"{hashlib.sha256(made_of.encode()).hexdigest()[:24]}{suffix}"


def require_writable(folder: Path) -> None:
    """Make a folder of the cache; raises ConfigurationError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        why = "permission denied" if not os.access(folder, os.W_OK | os.X_OK) else ""
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        raise ConfigurationError(
            f"UNLEARN_CACHE: the cache folder {str(cache_root())!r} cannot be written ({why}); set "
            "the environment variable UNLEARN_CACHE to a folder that can"
        )


def once(
    entry: Path, title: str, read: Callable[[Path], Value], make: Callable[[Path], Value]
) -> Value:
    """Return what `read` finds in an entry; where there is none, what `make` returns and writes.

    An entry that `read` cannot make sense of is removed and made anew, and a warning says so.
    """
    from filelock import FileLock  # not for `--help`, which asks this module for a path

    require_writable(entry.parent)
    with FileLock(f"{entry}.lock"):
        if entry.exists():
            try:
                return read(entry)
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("%s: the cached one is broken (%s) and is made anew", title, error)
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        return make(entry)
