"""Tables of a published data set by configuration name, from a folder or from the Hugging Face hub.

A folder is read directly: it needs no front matter, fills no cache and is faster than the library.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from unlearn.data.checks import noted
from unlearn.data.tables import Table, read_table
from unlearn.errors import DataError

log = logging.getLogger(__name__)


def read_configurations(
    path: str, required: Collection[str], optional: Collection[str], advice: str
) -> dict[str, Table]:
    """Read the named configurations of a data set, `path` being a folder or a hub id.

    What stands on this machine under that name is preferred to the hub, and what looks like a path
    is never looked up there: the library's answer would be about the syntax of repository names.
    Optional configurations may be absent. Raises DataError ending with `advice`.
    """
    folder = Path(os.path.expanduser(path))
    if folder.is_dir():
        return _from_folder(folder, required, optional, advice)
    if folder.exists():
        raise DataError(f"data.path={path} is a file; a folder is needed. {advice}")
    if path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise DataError(
            f"data.path={path}: no such folder (looked at {folder.absolute()}). {advice}"
        )
    return _from_hub(path, required, optional, advice)


def _from_folder(
    folder: Path, required: Collection[str], optional: Collection[str], advice: str
) -> dict[str, Table]:
    files = {name: folder / f"{name}.json" for name in (*required, *optional)}
    missing = [files[name].name for name in required if not files[name].is_file()]
    if missing:
        raise DataError(f"data.path={folder} lacks {', '.join(missing)}. {advice}")
    tables: dict[str, Table] = {}
    problems: list[str] = []
    for name, file in files.items():
        if name in optional and not file.is_file():
            log.info("%s has no %s: that split is not scored", folder, file.name)
            continue
        with noted(problems):
            tables[name] = read_table(file, "data.path")
    if problems:
        raise DataError(problems)
    return tables


def _from_hub(
    path: str, required: Collection[str], optional: Collection[str], advice: str
) -> dict[str, Table]:
    from datasets import load_dataset

    tables: dict[str, Table] = {}
    with _without_progress_bars():
        for name in (*required, *optional):
            try:
                records = load_dataset(path, name, split="train").to_list()
            # Whatever the library raises (it has no common base class), the way out is the same.
            except Exception as error:
                # A configuration the hub does not have, or the cache of an offline machine.
                if name in optional and isinstance(error, ValueError):
                    log.warning("%s has no %s: that split is not scored (%s)", path, name, error)
                    continue
                raise DataError(
                    f"data.path={path} is no folder here, and the hub did not give {name} "
                    f"({type(error).__name__}: {error}). {advice}"
                ) from error
            places = [f"{path} {name}, row {number}" for number in range(1, len(records) + 1)]
            tables[name] = Table(f"{path} {name}", records, places)
    return tables


@contextmanager
def _without_progress_bars() -> Iterator[None]:
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
