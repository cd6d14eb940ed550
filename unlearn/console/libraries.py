"""What libraries bring along: their lines and bars, and objects that stay to the end."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any


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
        _list_models_once()
        _leave_optimizers_of_scipy()
        yield
    finally:
        gc.freeze()
        gc.enable()


def _list_models_once() -> None:
    """Import transformers' list of its models by what it has just read of them.

    It reads the names in all files of its models, some 1,600, as it is imported, and again as
    `transformers.models` is, since its own memory holds 128 of 549 folders: .2 s of processor time.
    """
    if "transformers.models" in sys.modules:
        return
    import transformers
    from transformers.utils import import_utils

    read = getattr(import_utils, "create_import_structure_from_path", None)
    if read is None:
        return
    folder = Path(transformers.__file__).parent / "models"
    known = read(folder)  # in the words of the first reading, so that it is in the memory
    import_utils.create_import_structure_from_path = lambda path: (  # type: ignore[assignment]
        known if Path(path) == folder / "__init__.py" else read(path)
    )
    try:
        import transformers.models
    finally:
        import_utils.create_import_structure_from_path = read


def _leave_optimizers_of_scipy() -> None:
    """Import transformers' losses, some of object detection, without `scipy.optimize`, .2 s more.

    All that is asked of it is one function, which here imports it when it is called.
    """
    name = "scipy.optimize"
    if name in sys.modules or "transformers.loss.loss_utils" in sys.modules:
        return

    def linear_sum_assignment(*given: Any, **named: Any) -> Any:
        return import_module(name).linear_sum_assignment(*given, **named)

    stand_in: Any = ModuleType(name)
    stand_in.linear_sum_assignment = linear_sum_assignment
    sys.modules[name] = stand_in
    try:
        import_module("transformers.loss.loss_utils")
    finally:
        del sys.modules[name]


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
