"""What README, docs and configurations print: commands, and tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "conf").rglob("*.yaml")),
]
FLAGS = {"-m", "--help"}
Row = dict[str, str]


def commands() -> Iterator[tuple[str, str]]:
    """Yield (page, command) for every indented line that begins with `unlearn`, or with torchrun.

    `unlearn --clean` is left out: it takes folders, and Hydra never sees it.
    """
    for page in PAGES:
        joined = re.sub(r"\\\n#?\s*", "", page.read_text(encoding="utf-8"))
        for line in joined.splitlines():
            text = re.sub(r"^(\s{4}|#\s{3,})", "", line)
            text = re.sub(r"^(srun )?torchrun .*-m unlearn ", "unlearn ", text)
            text = text.replace("unlearn --plan ", "unlearn ")  # which composes the same words
            ours = text.startswith("unlearn ") and not text.startswith("unlearn --clean ")
            if text != line and ours:
                yield str(page.relative_to(ROOT)), text


def overrides_of(command: str) -> list[str]:
    """Return the overrides of a command, the first choice of each sweep."""
    words = [word for word in shlex.split(command, comments=True)[1:] if word not in FLAGS]
    return [next(values_of(word)) for word in words]


def values_of(word: str) -> Iterator[str]:
    """Yield the override for each value of a sweep, for both ends of an interval."""
    (override,) = OverridesParser.create().parse_overrides([word])
    value = override.value()
    if not override.is_sweep_override():
        yield word
    elif isinstance(value, IntervalSweep):
        yield from (f"{override.get_key_element()}={end}" for end in (value.start, value.end))
    else:
        yield from (f"{override.get_key_element()}={v}" for v in override.sweep_string_iterator())


def tables(text: str) -> Iterator[list[Row]]:
    """Yield every table as its rows, cells by the heading of their column."""
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        head, _, *body = [
            [cell.strip() for cell in line.strip().strip("|").split("|")]
            for line in block.splitlines()
        ]
        yield [dict(zip(head, cells, strict=True)) for cells in body]
