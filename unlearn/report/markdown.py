"""The little Markdown that a report needs, and the one place where texts of others become it.

A name, a note or an answer may hold HTML, a fence, an image or a control sequence; a page shows it.
"""

import re
from collections.abc import Sequence

from unlearn.console.visible import visible

LONGEST = 280
"""Characters of an answer that are shown; the whole text is in ``generations.jsonl``."""


def cell(value: object) -> str:
    """Make any text safe in one cell of a table: shortened, on one line, marks escaped."""
    line = one_line(value)
    if len(line) > LONGEST:
        line = line[:LONGEST].rstrip() + " …"
    return _escaped(line)


def words(value: object) -> str:
    """Make any text safe in a sentence: on one line, marks escaped."""
    return _escaped(one_line(value))


def code(value: object) -> str:
    """Return a text as code within a line, also within a cell of a table.

    Its marks are longer than any in the text; no comment begins in it, as the markers of a page
    are comments; and no backslash stands before a bar, which would end the cell.
    """
    line = one_line(value).replace("<!--", "<! --").replace("-->", "-- >")
    line = re.sub(r"\\*\|", lambda _: r"\|", line)
    marks = "`" * (1 + _longest_run(line))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{marks}{space}{line}{space}{marks}" if line else ""


def fence(text: str, language: str) -> str:
    """Return a block of code, whose fence is longer than any in the text."""
    marks = "`" * max(3, 1 + _longest_run(text))
    return f"{marks}{language}\n{visible(text).strip()}\n{marks}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> str:
    """Return a table; ``sides`` has a letter a column, ``r`` for columns of numbers."""
    marks = ["---:" if side == "r" else "---" for side in sides]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, marks, *rows])


def one_line(value: object) -> str:
    """Return any text on one line, without what steers a terminal; nothing for null."""
    return visible(" ".join(("" if value is None else str(value)).split()))


def _escaped(line: str) -> str:
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", line)


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
