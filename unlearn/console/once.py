"""Lines of the log that are said once a process: an evaluation at every epoch would repeat them."""

from __future__ import annotations

import logging

said: set[str] = set()
"""What was said already."""


def say_once(log: logging.Logger, message: str, level: int = logging.INFO) -> None:
    """Log `message` where it was not said before, at whatever level."""
    if message not in said:
        said.add(message)
        log.log(level, "%s", message)


def warn_once(log: logging.Logger, message: str) -> None:
    """Warn of something where it was not said before."""
    say_once(log, message, logging.WARNING)
