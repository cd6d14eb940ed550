"""Lines of the log that are said once a process: an evaluation at every epoch would repeat them."""

from __future__ import annotations

import logging
from functools import cache


@cache
def say_once(log: logging.Logger, message: str) -> None:
    """Log `message` where it was not said before."""
    log.info(message)


@cache
def warn_once(log: logging.Logger, message: str) -> None:
    """Warn of something where it was not said before."""
    log.warning(message)
