"""Text of others on a terminal and in a log: what would steer it is shown instead of obeyed.

A name in a record may hold the sequence that clears a screen, writes over a line or turns the order
of letters round. Each way to a person ends here: :func:`say`, :func:`console` and the
:class:`Formatter` of the log.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

# C0 but tab and line feed, DEL, C1; marks, embeddings, overrides and isolates of direction; the
# separators of lines that Python splits at and no editor shows; surrogates, which no file can hold.
STEERING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
    r"\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Return a text with each character that steers a terminal written as its escape, ``\\x1b``."""
    return STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def say(text: object, file: IO[str] | None = None) -> None:
    """Print one line, by default to standard output."""
    print(visible(str(text)), file=sys.stdout if file is None else file)


def console(file: IO[str] | None = None, **options: Any) -> Console:
    """Return rich's console, for which a text in brackets is a text and no style."""
    from rich.console import Console
    from rich.segment import Segment

    class Plain(Console):
        """Writes what a style needs, and shows what a text brought."""

        def _render_buffer(self, buffer: Iterable[Segment]) -> str:
            shown = (s if s.control else Segment(visible(s.text), s.style) for s in buffer)
            return super()._render_buffer(shown)

    return Plain(file=file, markup=False, emoji=False, highlight=False, **options)


class LogFile(logging.FileHandler):
    """The log of a run; a disk that is full ends it with one line, not with a traceback each."""

    refused = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Say once why nothing more is written; what is no fault of the system goes on as usual."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.refused:
            self.refused = True
            reason = error.strerror or error
            say(f"{self.baseFilename} could not be written: {reason}", sys.stderr)

    def close(self) -> None:
        """Close the file, also where its last lines find no room."""
        with suppress(OSError):
            super().close()


class Formatter(logging.Formatter):
    """Lines of a log."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a message of several lines stays one."""
        return visible(super().format(record))
