"""The little Markdown that a report needs."""

import re
from collections.abc import Sequence

LONGEST = 280
"""Characters of an answer that are shown; the whole text is in ``generations.jsonl``."""


def cell(value: object) -> str:
    """Make any text safe in one cell of a table: shortened, on one line, marks escaped."""
    line = " ".join(str(value or "").split())
    if len(line) > LONGEST:
        line = line[:LONGEST].rstrip() + " …"
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", line)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> str:
    """Return a table; ``sides`` has a letter a column, ``r`` for columns of numbers."""
    marks = ["---:" if side == "r" else "---" for side in sides]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, marks, *rows])
