"""What happens beside the jobs of a sweep: each lets go of what it held, and the end compares them.

Hydra calls `on_multirun_end` only where every job completed, for a job that failed raises before;
so the command closes what the callback opened, whichever way a sweep ends. Jobs are read from their
folders: under joblib they ran in other processes.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from unlearn.console.visible import say
from unlearn.errors import Interrupted

log = logging.getLogger(__name__)

_open: list[Path] = []
"""The folder of the sweep that is running in this process, if any."""


class ReleaseMemory(Callback):
    """Gives back what a finished job holds, and leaves of its result the value and the status.

    Hydra keeps the result of every job to the end of the sweep, with two whole configurations in it
    (joblib's workers send them back as well). Models and figures lie in circles of references that
    Python would collect only some jobs later; and what glibc's allocator gets back, it keeps.
    """

    frozen: ClassVar[bool] = False
    """Once a process, not once an object: joblib's workers get a new one with every job."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if config.hydra.mode.name != "MULTIRUN":
            return
        job_return.cfg = job_return.hydra_cfg = None
        gc.collect()
        if (
            not ReleaseMemory.frozen
        ):  # half a million objects of the libraries need not be looked at again
            gc.freeze()
            ReleaseMemory.frozen = True
        if sys.platform == "linux":
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
            if trim is not None:
                trim(0)


class CompareJobs(Callback):
    """Remembers a sweep's folder, and compares its jobs when all have completed."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Take note of the folder, whose name may hold the time and so is resolved once."""
        _open[:] = [Path(config.hydra.sweep.dir)]

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Compare, where no job failed."""
        close_sweep()


@contextmanager
def closing_sweep() -> Iterator[None]:
    """Compare the jobs also where some failed; one that was told to stop is left as it is."""
    try:
        yield
    except Interrupted:
        raise
    except Exception:
        close_sweep()
        raise
    finally:
        _open.clear()


def close_sweep() -> None:
    """Print and write the comparison of the sweep that is open; never an error of the sweep."""
    while _open:
        folder = _open.pop()
        try:
            _conclude(folder)
        except OSError as error:  # a full disk
            log.error("the comparison of %s failed: %s; unlearn-compare makes it", folder, error)
        except Exception:  # any: a page that cannot be written does not undo a sweep
            log.exception("the comparison of %s failed; unlearn-compare makes it later", folder)


def _conclude(folder: Path) -> None:
    from unlearn.report.comparison import compare, print_jobs, write_comparison
    from unlearn.report.comparison.runs import find_runs

    if not folder.is_dir() or not find_runs([folder]):  # no job began
        return
    comparison = compare([folder])
    print_jobs(comparison)
    for path in write_comparison(comparison, folder):
        say(f"written: {path}")
