"""The command `unlearn`: compose a configuration with Hydra, run it, end with the right status.

Exit status: 0 completed; 1 failed; 2 a configuration or data error; 3 the verdict is no and
accept.strict=true. Nothing heavy is imported before a run starts, so that `--help` and tab
completion answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from unlearn.config import register
from unlearn.errors import ConfigurationError, UnlearnError

log = logging.getLogger(__name__)

register()


_outcome: list[Exception] = []
"""The failure of a single run, for :func:`main`; jobs of a sweep raise it, as Hydra asks."""


@hydra.main(version_base="1.3", config_path="pkg://unlearn.conf", config_name="config")
def task(cfg: DictConfig) -> None:
    """Run one job; its failure goes into its own log before Hydra sees it."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from unlearn.experiment import run

    job = HydraConfig.get()
    try:
        run(cfg, Path(job.runtime.output_dir), list(job.overrides.task))
    except Exception as error:
        if isinstance(error, UnlearnError):
            log.error("%s", error)
        else:
            log.exception("the run failed")
        if job.mode is RunMode.MULTIRUN:
            raise
        _outcome.append(error)


def main() -> None:
    """Entry point of the console script and of `python -m unlearn`."""
    # Hydra would end with status 1 whatever the error; with this it raises, and we tell them apart.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Threads that wait by spinning make a shared machine many times slower; set before torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        task()
        if _outcome:
            raise _outcome[0]
    except UnlearnError as error:
        sys.exit(error.exit_status)
    except (HydraException, OmegaConfBaseException, OSError) as error:
        print(f"unlearn: {error}", file=sys.stderr)
        if error.__cause__ is not None:
            print(error.__cause__, file=sys.stderr)
        sys.exit(ConfigurationError.exit_status)
    except Exception:
        if not _outcome:
            traceback.print_exc()
        sys.exit(UnlearnError.exit_status)
