"""What a finished record says of itself: its own hash, and those of the files that readers read.

`summary.json` ends with ``"sha256"``, the SHA-256 of the text ahead of that value. A record without
it is one of an earlier version, and is taken as it is; so is one from which somebody took the line.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn.record.limits import LARGEST_TABLE, require_regular
from unlearn.storage.files import plain, write_text_atomic
from unlearn.storage.sealed import file_sha256

KEY, FILES = "sha256", "files"
END = re.compile(r'"sha256": "([0-9a-f]{64})"\n}\n\Z')
READ = re.compile(r"metrics\.jsonl|evaluations/[\w.-]+/generations\.jsonl")
"""The files that a reader of a finished run opens beside its record, below its folder."""


def stamped(record: Mapping[str, Any]) -> str:
    """Return the text of a record that ends with its hash."""
    held = {**{key: value for key, value in record.items() if key != KEY}, KEY: "0" * 64}
    text = json.dumps(plain(held), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    place = text.rindex("0" * 64)
    return text[:place] + hashlib.sha256(text[:place].encode()).hexdigest() + text[place + 64 :]


def write_stamped(file: Path, record: Mapping[str, Any]) -> None:
    """Write a record that ends with its hash, atomically."""
    write_text_atomic(file, stamped(record))


def require_stamp(text: str, record: Any, name: str) -> None:
    """Raise ValueError where a record has a hash that is not its own."""
    if not isinstance(record, Mapping) or KEY not in record:
        return
    end = END.search(text)
    if end is None or hashlib.sha256(text[: end.start(1)].encode()).hexdigest() != end[1]:
        raise ValueError(
            f"{name}: it is not as it was written (where you changed it, take its {KEY!r} out)"
        )


def hashes_in(run: Path) -> dict[str, str]:
    """Return the hash of each file of a finished run that a reader opens beside the record."""
    found = [run / "metrics.jsonl", *sorted((run / "evaluations").glob("*/generations.jsonl"))]
    return {path.relative_to(run).as_posix(): file_sha256(path) for path in found if path.is_file()}


def require_files(run: Path, record: Mapping[str, Any]) -> None:
    """Raise ValueError for a file of a run that is not as its record says it was written.

    Names that no run writes are passed over: a record may be anybody's.
    """
    known = (record.get("provenance") or {}).get(FILES) or {}
    for name, sha256 in known.items():
        if not READ.fullmatch(name) or ".." in name:
            continue
        try:
            require_regular(run / name, LARGEST_TABLE)
        except FileNotFoundError:
            raise ValueError(f"{name}: it is missing") from None
        if file_sha256(run / name) != sha256:
            raise ValueError(f"{name}: it is not as it was written")
