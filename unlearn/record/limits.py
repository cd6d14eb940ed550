"""What a file of a run folder may be: regular, of a sane size, and not nested without end.

A file of somebody else's may be a pipe that nobody writes to, or a few lines that unfold to more
than the memory holds. Raises ValueError, which readers of a folder tell as "cannot be read".
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import yaml

from unlearn.errors import first_line

LARGEST = 16 * 2**20
"""Bytes of a summary, or of a line; a large summary has some 100,000."""
LARGEST_YAML = 2 * 2**20
"""Letters of a configuration, which takes a hundred times as long to read as JSON."""
LARGEST_TABLE = 2**30
"""Bytes of a file with a line for each step or answer."""
DEEPEST = 40
"""Mappings and lists within each other; a configuration has six."""
HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""How JSON may write a lone surrogate, which no file of ours can hold; or half of a pair."""
SIXTY = re.compile(r"(?::[0-5]?[0-9]){12}")
"""What YAML takes for a number to the base of 60; a long one is computed for hours."""
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def text_of(file: Path) -> str:
    """Return the text of a regular file; raises FileNotFoundError where there is none."""
    require_regular(file, LARGEST)
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name}: {error}") from None


def require_regular(file: Path, largest: int) -> None:
    """Raise ValueError for what is no regular file, as a pipe is waited for, or is too large."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{file.name}: no regular file")
    if found.st_size > largest:
        raise ValueError(f"{file.name}: {found.st_size:,} bytes; allowed: {largest:,}")


def lines_of(file: IO[str]) -> Iterator[str]:
    """Yield the lines of an open file, of which none may be longer than a whole record."""
    name = Path(file.name).name
    try:
        while line := file.readline(LARGEST):
            if len(line) == LARGEST:
                raise ValueError(f"{name}: a line of more than {LARGEST:,} letters")
            yield line
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: {error}") from None


def end_of(file: Path, size: int = 2**20) -> str:
    """Return the last bytes of a log as text; nothing where it is none."""
    if not file.is_file():
        return ""
    with file.open("rb") as log:
        log.seek(max(0, file.stat().st_size - size))
        return log.read(size).decode(errors="replace")


def json_in(text: str, name: str) -> Any:
    """Return what a text of strict JSON holds; Python's reader would take NaN, and half a letter.

    Raises ValueError with `name`, which is that of the file, and of the line where it has many.
    """
    try:
        value = _STRICT.decode(text)
        if HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError(f"{name}: nested too deeply") from None
    except ValueError as error:  # no JSON, or an integer of more digits than Python reads
        raise ValueError(f"{name}: {first_line(error)}") from None
    if text.count("[") + text.count("{") > DEEPEST:  # as many lines have a few, which is quick
        require_shallow(value, name)
    return value


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


_STRICT = json.JSONDecoder(parse_constant=_no_number)


def yaml_in(text: str, name: str) -> Any:
    """Return what a text of YAML holds, by the safe loader.

    No alias: Hydra writes none, and ten lines of aliases to aliases are a thousand million values.
    """
    try:
        if len(text) > LARGEST_YAML:
            raise ValueError(f"{len(text):,} letters; allowed: {LARGEST_YAML:,}")
        if SIXTY.search(text):
            raise ValueError("a number of many digits to the base of 60")
        # Events cost more than all else, and only these texts can hold what is looked for.
        if "*" in text or text.count("[") + text.count("{") > DEEPEST or _long_line(text):
            _require_tame(text)
        value = yaml.load(text, LOADER)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # such as a month 13
        raise ValueError(f"{name}: {first_line(error)}") from error
    require_shallow(value, name)
    return value


def require_shallow(value: Any, name: str) -> None:
    """Raise ValueError where mappings and lists lie deeper in each other than readers can walk."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return
    raise ValueError(f"{name}: nested more than {DEEPEST} deep")


def _inside(value: Any) -> list[Any]:
    held = value.values() if isinstance(value, Mapping) else value
    return [one for one in held if isinstance(one, (dict, list))]


def _long_line(text: str) -> bool:
    """Return whether a line is long enough to nest deeply, by ``- - -`` or by its indentation."""
    return any(len(line) > 2 * DEEPEST for line in text.splitlines())


def _require_tame(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"an alias (*{event.anchor[:40]}); a record holds none")
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")
