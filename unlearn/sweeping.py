"""What Hydra is to do between the jobs of a sweep, so that the hundredth starts like the first."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any, ClassVar

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class LetGo(Callback):
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
        if not LetGo.frozen:  # half a million objects of the libraries need not be looked at again
            gc.freeze()
            LetGo.frozen = True
        if sys.platform == "linux":
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
            if trim is not None:
                trim(0)
