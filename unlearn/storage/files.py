"""Files that are either whole or absent.

Whoever reads a run folder while the run is still writing it (a comparison, a sweep that skips
finished jobs, a person) sees the old file or the new one, never half of one.
"""

import errno
import glob
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from numbers import Integral, Real
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """Turn a value into what strict JSON can hold.

    Non-finite numbers become null, because ``NaN`` is no JSON and stops every strict reader; numpy
    scalars become numbers, paths text, enums their value, mapping keys text, tuples and sets lists.

    Raises:
        TypeError: for any other type; an object's ``repr`` in a record helps nobody.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(inner) for inner in value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):  # numpy.bool_ and one-element arrays or tensors
        return plain(value.item())
    raise TypeError(f"a record cannot hold a {type(value).__name__}: {value!r}")


REFUSED = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
}
"""Why a system does not let a file be written: no room, a quota, a limit, no right, a bad disk."""


class NotWritten(OSError):
    """A file or folder that the system did not let us write, by name; nothing of it is left."""

    def __init__(self, path: Path, number: int | None, reason: str) -> None:
        super().__init__(number, reason)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} could not be written: {self.strerror}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name what was to be written where the system refuses: a full disk itself tells no path.

    Raises NotWritten, also where it is safetensors that finds out, whose error is none of Python's.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        raise NotWritten(path, error.errno, os.strerror(error.errno)) from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":  # by name: `--help` is not to import it
            raise
        found = re.search(r"(?:I/O error: )?(.*) \(os error (\d+)\)", str(error))
        number = int(found[2]) if found else None
        reason = os.strerror(number) if number else str(error)
        raise NotWritten(path, number, reason) from error


def write_text_atomic(path: Path, text: str) -> None:
    """Write a text file as :func:`write_bytes_atomic` does."""
    write_bytes_atomic(path, text.encode())


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it appears under its name only when it is complete.

    It goes to a temporary file in the same folder (a rename is atomic only within one file
    system), reaches the disk, and then takes the name. A failure leaves an older file untouched;
    what a killed process left of the same file goes. Raises NotWritten where the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                if left == temporary or not _runs(left.name.split(".")[-2]):
                    left.unlink(missing_ok=True)
            with temporary.open("xb") as file:  # never through a link laid out there
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _runs(pid: str) -> bool:
    """Return whether a process of this number is there, or may be."""
    if os.name == "nt":  # where asking is killing
        return True
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:  # of somebody else
        return True
    return True


def write_json_atomic(path: Path, value: Any) -> None:
    """Write ``value`` as indented strict JSON, atomically; :func:`plain` converts."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_text_atomic(path, text + "\n")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a neighbouring folder to write to, and rename it to `folder` once that succeeded.

    Raises NotWritten where the disk is full.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    older = folder.with_name(f".{folder.name}.older.unfinished")
    for left in (unfinished, older):
        shutil.rmtree(left, ignore_errors=True)
    with writing(folder):
        unfinished.mkdir(parents=True)
        try:
            yield unfinished
            if folder.exists():  # never half of it under its name, as while it is removed
                folder.rename(older)
            unfinished.rename(folder)
            shutil.rmtree(older, ignore_errors=True)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def entries_below(folder: Path) -> Iterator[Path]:
    """Yield every file and folder below, also where another process is writing there.

    What vanishes meanwhile is passed over; `Path.rglob` raises where a folder that it has just seen
    gets another name.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(place, name)
