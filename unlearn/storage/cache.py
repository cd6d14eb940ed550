"""What runs share: one folder of a user's, with entries that are named by what made them.

An entry is a sealed folder, written whole or not at all under a lock, so that parallel jobs make it
once and nobody ever reads half of one. A cache that cannot be written is read all the same.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from unlearn.errors import ConfigurationError
from unlearn.storage.sealed import damage_of

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


def entry_of(kind: str, made_of: str) -> Path:
    """Return the place of the entry of this kind that `made_of`, as text, names."""
    return cache_root() / kind / hashlib.sha256(made_of.encode()).hexdigest()[:24]


def lock_of(kind: str, name: str) -> Path:
    """Return the file by which processes agree on what has this name.

    It lies in the cache; in the folder for temporary files where the cache is there and cannot be
    written, so that it holds on one machine. Raises ConfigurationError where neither can be.
    """
    room = cache_root() / kind
    why = _unwritable(room)
    if why and cache_root().is_dir():
        room = Path(tempfile.gettempdir()) / f"unlearn-{os.getuid()}" / kind
        room.parent.mkdir(mode=0o700, exist_ok=True)
        if room.parent.stat().st_uid == os.getuid():  # and not laid out by somebody else
            why = _unwritable(room)
    if why:
        raise ConfigurationError(_set_another(why))
    return room / f"{name}.lock"


def once(
    entry: Path,
    title: str,
    read: Callable[[Path], Value],
    make: Callable[[Path], Value],
    unkept: Callable[[], Value] | None = None,
) -> Value:
    """Return what `read` finds in an entry; where there is none, what `make` returns and writes.

    An entry with a file that is not as it was written, or that `read` cannot make sense of, is
    removed and made anew, and a warning says so. Where the cache cannot be written, entries are
    read, and what is missing is what `unkept` returns; without it ConfigurationError is raised.
    """
    from filelock import FileLock  # not for `--help`, which asks this module for a path

    why, lock = _unwritable(entry.parent), FileLock(f"{entry}.lock")
    try:
        if not why:
            lock.acquire()
    except PermissionError:
        why = "permission denied"  # another user's lock in a folder of both
    try:
        if os.path.lexists(entry):
            try:
                if damage := damage_of(entry):
                    raise ValueError(damage)
                return read(entry)
            except (OSError, ValueError, KeyError, TypeError) as error:
                anew = "made anew" if unkept or not why else "not used"
                log.warning(
                    "%s: the cached one, %s, is broken (%s) and is %s", title, entry, error, anew
                )
        if why and unkept is None:
            raise ConfigurationError(f"{title}: not in the cache; {_set_another(why)}")
        if why and unkept is not None:
            log.info("%s: not kept, as the cache cannot be written (%s)", title, why)
            return unkept()
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
        return make(entry)
    finally:
        lock.release()


def _unwritable(folder: Path) -> str:
    """Make a folder of the cache; return why it cannot be written, nothing where it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(folder, os.W_OK | os.X_OK) else "permission denied"


def _set_another(why: str) -> str:
    return (
        f"UNLEARN_CACHE: the cache folder {str(cache_root())!r} cannot be written ({why}); set the "
        "environment variable UNLEARN_CACHE to a folder that can"
    )
