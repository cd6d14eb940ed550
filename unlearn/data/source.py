"""Tables of a published data set by configuration name, from a folder or from the Hugging Face hub.

A folder is read directly: it needs no front matter, fills no cache and is faster than the library.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from unlearn.data.foreign_files import name_problem
from unlearn.data.records import Table
from unlearn.data.tables import SUFFIXES, read_table
from unlearn.data.telling import shown, together
from unlearn.errors import DataError, said_by

log = logging.getLogger(__name__)


def read_configurations(
    path: str,
    required: Collection[str],
    optional: Collection[str],
    advice: str,
    field: str = "data.path",
) -> dict[str, Table]:
    """Read the named configurations of a data set, `path` being a folder or a hub id.

    A name is `configuration` or `configuration/split`; the hub's split of the former is train. In a
    folder, `forget10` is forget10.json, and `raw/forget` is in the folder raw: the Parquet files
    that the hub has of it (forget-00000-of-00001.parquet), or forget with any readable suffix.

    What stands on this machine under that name is preferred to the hub, and what looks like a path
    is never looked up there: the library's answer would be about the syntax of repository names.
    Optional configurations may be absent; `field` is the option that names the path. Raises
    DataError ending with `advice`.
    """
    if problem := name_problem(path):
        raise DataError(f"{field}={shown(path)} {problem}. {advice}")
    folder = Path(os.path.expanduser(path))
    if folder.is_dir():
        return _from_folder(folder, required, optional, advice, field)
    if folder.exists():
        raise DataError(f"{field}={path} is a file; a folder is needed. {advice}")
    if path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise DataError(f"{field}={path}: no such folder (looked at {folder.absolute()}). {advice}")
    return _from_hub(path, required, optional, advice, field)


def _from_folder(
    folder: Path,
    required: Collection[str],
    optional: Collection[str],
    advice: str,
    field: str,
) -> dict[str, Table]:
    files = {name: _files_of(folder, name) for name in (*required, *optional)}
    missing = [_label(name) for name in required if not files[name]]
    if missing:
        raise DataError(f"{field}={folder} lacks {', '.join(missing)}. {advice}")
    for name in optional:
        if not files[name]:
            log.info("%s has no %s: that split is not scored", folder, _label(name))
    return together(
        {n: partial(_joined, folder / n, parts, field) for n, parts in files.items() if parts}
    )


def _joined(place: Path, parts: list[Path], field: str) -> Table:
    """Read the files of one configuration, in their order, as one table."""
    read = [read_table(part, field) for part in parts]
    return Table(
        read[0].source if len(read) == 1 else str(place),
        [record for table in read for record in table.records],
        [place for table in read for place in table.places],
    )


def _label(name: str) -> str:
    """Name the file, or the split that may stand in one of several files."""
    return name if "/" in name else f"{name}.json"


def _files_of(folder: Path, name: str) -> list[Path]:
    """Return the files that hold a configuration or split, none where a part of it is missing."""
    if "/" not in name:
        file = folder / _label(name)
        return [file] if file.is_file() else []
    parts = sorted(folder.glob(f"{name}-*-of-*.parquet"))
    if parts:
        count = parts[0].stem.rpartition("-of-")[2]
        return parts if count == f"{len(parts):05d}" else []
    split = folder / name
    beside = (split.with_name(split.name + suffix) for suffix in SUFFIXES)
    return [file for file in beside if file.is_file()][:1]


def _from_hub(
    path: str,
    required: Collection[str],
    optional: Collection[str],
    advice: str,
    field: str = "data.path",
) -> dict[str, Table]:
    from datasets import load_dataset

    refuse_formats(field, path)
    tables: dict[str, Table] = {}
    with without_progress_bars():
        for name in (*required, *optional):
            try:
                configuration, _, split = name.partition("/")
                records = load_dataset(path, configuration, split=split or "train").to_list()
            # Whatever the library raises (it has no common base class), the way out is the same.
            except Exception as error:
                # A configuration the hub does not have, or the cache of an offline machine.
                if name in optional and isinstance(error, ValueError):
                    log.warning("%s has no %s: that split is not scored (%s)", path, name, error)
                    continue
                raise DataError(
                    f"{field}={path} is no folder here, and the hub did not give {name} "
                    f"({type(error).__name__}: {said_by(error)}). {advice}"
                ) from error
            tables[name] = Table.numbered(f"{path} {name}", records)
    return tables


def refuse_formats(option: str, name: str) -> None:
    """Raise DataError where a data set has the name of a format of the library's.

    `pandas` and its like read whatever lies in the working folder, pickles included.
    """
    from datasets import packaged_modules

    if name in packaged_modules._PACKAGED_DATASETS_MODULES:
        raise DataError(f"{option}: {name!r} is a format and no data set; give OWNER/NAME")


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keep a dozen bars, each for a file of a second, off the terminal; then as it was."""
    from datasets import utils as datasets_bars
    from huggingface_hub import utils as hub_bars

    bars = [b for b in (datasets_bars, hub_bars) if not b.are_progress_bars_disabled()]
    for module in bars:
        module.disable_progress_bars()
    try:
        yield
    finally:
        for module in bars:
            module.enable_progress_bars()
