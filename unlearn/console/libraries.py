"""What libraries bring along: their lines and bars, and objects that stay to the end."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Keep the collector of garbage from the half a million objects that imports leave for good.

    It would look through all of them some thirty times, now and later: 6 % of a short run. Only the
    first time in a process: before a later job of a sweep lies what the one before has left.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def silence_libraries() -> None:
    """Switch off the bars of libraries, ours say what takes long; take their lines into our log.

    Each has a handler of its own, so that a line would come twice, or never reach unlearn.log.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    for name in ("transformers", "huggingface_hub", "datasets"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    logging.getLogger("transformers.modeling_utils").addFilter(_is_no_load_report)


def _is_no_load_report(record: logging.LogRecord) -> bool:
    """Return whether a line is none of the tables of tensors that `unlearn.models.whole` tells."""
    return "LOAD REPORT" not in record.getMessage()
