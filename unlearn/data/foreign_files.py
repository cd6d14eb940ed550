"""What a file of somebody else's may be: under a name that can exist, regular, and not enormous.

A pipe is waited for, a sparse file of a gigabyte is read whole, a few kilobytes of gzip unfold to
more than the memory holds: all of it is told from the outside, before a byte is read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

LARGEST_DATA = 512 * 2**20
"""Bytes of a file of rows, unpacked; a book has one million."""
LONGEST_NAME, LONGEST_PATH = 255, 4095
"""Bytes of a file's name and of a whole path, on the usual file systems."""
POINTER = b"version https://git-lfs"
"""What a file begins with that git-LFS has not fetched."""
FETCH = "it is a pointer of git-LFS and not the file itself; fetch it (git lfs pull)"


def name_problem(given: str) -> str | None:
    """Return why no file can have this name, of which a system would say so in its own words."""
    if "\0" in given:
        return "holds a zero byte, which no name has"
    try:
        encoded = os.fsencode(given)
    except UnicodeEncodeError:
        return "holds half a character, which no name has"
    longest = max(map(len, encoded.split(os.fsencode(os.sep))))
    if longest > LONGEST_NAME or len(encoded) > LONGEST_PATH:
        return (
            f"is a name of {longest:,} bytes in a path of {len(encoded):,}; files have names of up "
            f"to {LONGEST_NAME} and paths of up to {LONGEST_PATH:,}"
        )
    return None


def file_problem(file: Path, largest: int) -> str | None:
    """Return why a file, which is there, is not to be read whole; links are followed."""
    try:
        found = file.stat()
    except OSError as error:  # a link to nothing or to itself, a folder that may not be entered
        return f"cannot be read ({error.strerror})"
    if stat.S_ISDIR(found.st_mode):
        return "is a folder, not a file"
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file (a pipe, a socket or a device)"
    if found.st_size > largest:
        return f"has {found.st_size:,} bytes; at most {largest:,} are read"
    return None


def folder_problem(folder: Path, largest: int) -> str | None:
    """Return why a library is not to be let into a folder: a file below it is not to be read."""
    for place, _, names in os.walk(folder):
        for name in names:
            if problem := file_problem(Path(place, name), largest):
                return f"{Path(place, name)} {problem}"
    return None
