"""The libraries' own lines and bars."""

from __future__ import annotations

import logging


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
