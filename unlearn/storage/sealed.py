"""Folders that know their files by hash: what was damaged since is named, never believed.

Each entry of the cache and each checkpoint holds `SHA256SUMS`, in the form of sha256sum(1): in the
folder, ``sha256sum -c SHA256SUMS`` asks what is asked here.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from unlearn.storage.files import entries_below, whole_folder, write_text_atomic

SUMS = "SHA256SUMS"
HEAD = "# unlearn: "
"""Ahead of the folder's name, so that one which took another's place is told as well."""
LINE = re.compile(r"([0-9a-f]{64})  (.+)")
SETTLED = 50_000_000
"""Nanoseconds after which a change gives a file another time; clocks of file systems tick by 10 ms
at most."""

_hashes: dict[tuple[int, ...], str] = {}
"""SHA-256 of files that this process has read, by device, inode, size and times."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read once a process as long as it stays what it is."""
    stat = path.stat()
    same = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if same not in _hashes:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) < SETTLED:
            return found  # a change that follows at once might not be told by the times
        _hashes[same] = found
    return _hashes[same]


def seal(folder: Path, name: str, known: Mapping[str, str] | None = None) -> None:
    """Write the hash of every file below, for a folder that will have this name.

    Files whose hash is `known` are not read again.
    """
    every = dict(known or {})
    every |= {file: file_sha256(folder / file) for file in _files_in(folder) - every.keys()}
    hashes = [f"{every[file]}  {file}\n" for file in sorted(every)]
    write_text_atomic(folder / SUMS, f"{HEAD}{name}\n{''.join(hashes)}")


@contextmanager
def sealed_folder(folder: Path, known: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Give a folder to write to, like :func:`whole_folder`, and seal it before it is renamed.

    `known` may get the hashes of files meanwhile, from whoever wrote them (:func:`seal`).
    """
    with whole_folder(folder) as unfinished:
        yield unfinished
        seal(unfinished, folder.name, known)


def damage_of(folder: Path, anywhere: bool = False) -> str | None:
    """Return what is wrong with the first file of a sealed folder that is not as it was written.

    None where all are. `anywhere`: the folder may be a copy under another name. A file whose name
    begins with a dot counts for nothing: file systems and libraries leave such, and none is read.
    """
    try:
        text = (folder / SUMS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return f"its {SUMS} is missing"
    except (OSError, ValueError) as error:
        return f"its {SUMS} cannot be read ({error})"
    head, *lines = text.split("\n")
    known = [LINE.fullmatch(line) for line in lines[:-1]]
    if not head.startswith(HEAD) or lines[-1:] != [""] or not all(known):
        return f"its {SUMS} is not as it was written"
    if not anywhere and head != f"{HEAD}{folder.name}":
        return f"its {SUMS} is that of {head.removeprefix(HEAD)!r}"
    hashes = {found[2]: found[1] for found in known if found}
    there = _files_in(folder)
    for name, sha256 in hashes.items():
        if name not in there:
            return f"its {name} is missing"
        try:
            if file_sha256(folder / name) != sha256:
                return f"its {name} is not as it was written"
        except OSError as error:
            return f"its {name} cannot be read ({error.strerror})"
    strange = sorted(there - hashes.keys())
    return f"{strange[0]} was not written there" if strange else None


def damage_if_sealed(folder: Path) -> str | None:
    """Return the damage of a folder that may be anybody's; None for one that was never sealed."""
    try:
        with (folder / SUMS).open("rb") as file:
            ours = file.read(len(HEAD)) == HEAD.encode()
    except OSError:
        return None
    return damage_of(folder, anywhere=True) if ours else None


def _files_in(folder: Path) -> set[str]:
    """Return the names of the regular files below, in POSIX form."""
    found = (path for path in entries_below(folder) if path.is_file())
    names = {path.relative_to(folder).as_posix() for path in found if path.name[0] != "."}
    return names - {SUMS}
