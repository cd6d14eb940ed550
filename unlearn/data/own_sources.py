"""Where rows of one's own come from: a file, a folder of texts, or a data set of the hub's kind."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from unlearn.data.foreign_files import LARGEST_DATA, folder_problem, name_problem
from unlearn.data.records import Record, Table
from unlearn.data.source import refuse_formats, without_progress_bars
from unlearn.data.tables import SUFFIXES, TEXT, kind_of, read_table, read_whole
from unlearn.data.telling import shown
from unlearn.errors import DataError, said_by

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(/[\w.-]+){0,2}")
_SPLIT = "train"
_CARD = "README.md"


def read_source(given: str, field: str, encoding: str | None = None) -> Table:
    """Read what the option `field` names.

    A file is read by its suffix. In a folder of .txt files every file is one text, whole. Any other
    folder is a data set as the hub lays it out, and what is neither here is looked for on the hub:
    NAME, NAME/CONFIGURATION or NAME/CONFIGURATION/SPLIT, the split being `train` unless named.
    """
    if problem := name_problem(given):
        raise DataError(f"{field}={shown(given)} {problem}; give a file, a folder or a hub id.")
    path = Path(given)
    with suppress(RuntimeError):  # ~NAME where nobody is called so is a name like others
        path = path.expanduser()
    if path.is_file() or kind_of(path) in SUFFIXES:
        return read_table(path, field, encoding)
    named = f"{field}={given}"
    if path.is_dir():
        return _from_folder(path, named, encoding)
    here = given.startswith((".", "/", "~"))
    for folder in list(path.parents)[:2] if here else []:
        if _readable(folder) and folder.name not in ("", ".."):
            return _data_set(str(folder), path.relative_to(folder).parts, named)
    if here or not _HUB_ID.fullmatch(given):
        raise DataError(f"{named}: no such file or folder (looked in {path.absolute().parent}).")
    owner, name, *rest_of_id = given.split("/")
    return _data_set(f"{owner}/{name}", tuple(rest_of_id), named)


def _from_folder(folder: Path, named: str, encoding: str | None) -> Table:
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")]
    texts = [file for file in files if kind_of(file) == ".txt"]
    others = [file.name for file in files if kind_of(file) in SUFFIXES and file not in texts]
    if not texts and len(others) > 1 and not (folder / _CARD).is_file():
        raise DataError(
            f"{named}: a folder of {len(others)} files ({', '.join(others[:3])}); give one of "
            f"them, or a {_CARD} that says which are its splits, as data sets of the hub have it."
        )
    if not texts:
        return _data_set(str(folder), (), named)
    if others:
        raise DataError(
            f"{named}: the folder holds .txt files and {', '.join(others[:3])} besides; give a "
            "folder of .txt files alone, or one file."
        )
    read = [read_whole(file, named.partition("=")[0], encoding) for file in texts]
    records: list[Record] = [{TEXT: text} for text, _ in read]
    read_as = dict.fromkeys(f"read as {found}" for _, found in read if found)
    skipped = [file.name for file in files if file not in texts]
    remarks = [f"{len(texts)} .txt files, each one text", *read_as]
    remarks += [f"not read in the folder: {', '.join(skipped)}"] if skipped else []
    return Table(str(folder), records, [str(file) for file in texts], tuple(remarks))


def _readable(folder: Path) -> bool:
    """Whether files with rows lie in a folder, or in its folder data."""
    files = [*folder.glob("*"), *folder.glob("data/*")] if folder.is_dir() else []
    return any(kind_of(file) in SUFFIXES for file in files)


def _data_set(name: str, rest: tuple[str, ...], named: str) -> Table:
    """Read a split of a data set with the library of the hub, without progress bars.

    What lies here is streamed: the library would leave a copy of the rows in its cache otherwise.
    """
    from datasets import load_dataset

    refuse_formats(named, name)
    configuration, split = (*rest, None, None)[:2]
    split = split or _SPLIT
    here = Path(name).is_dir()
    if here and (problem := folder_problem(Path(name), LARGEST_DATA)):
        raise DataError(f"{named}: {problem}; take it out of the folder.")
    try:
        with without_progress_bars():
            loaded: Any = load_dataset(name, configuration, split=split, streaming=here)
            records = [dict(record) for record in loaded]
    # Whatever the library raises (it has no common base class), the way out is the same.
    except Exception as error:
        asked = f"configuration {configuration!r}, split {split!r}" if rest else f"split {split!r}"
        lacking = "no .txt files are in it" if here and not rest else "there is no such file"
        where = f"the folder {name}" if here else f"{name} on the hub"
        raise DataError(
            f"{named}: {lacking}, and as a data set, {asked} of {where}, it cannot be read "
            f"({type(error).__name__}: {said_by(error)}). Give a file, a folder of .txt files, "
            "or NAME/CONFIGURATION/SPLIT of a data set."
        ) from error
    if not records:
        raise DataError(f"{named}: the split {split!r} has no rows.")
    remark = f"split {split!r}" + (f" of {configuration!r}" if configuration else "")
    return replace(Table.numbered(f"{name} {split}", records, (remark,)), source=name)
