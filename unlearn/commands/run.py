"""The command `unlearn`: compose a configuration with Hydra, run it, end with the right status.

0 completed; 1 failed; 2 a configuration or data error; 3 the verdict is no and accept.strict=true.
Heavy imports wait until a run starts, so that `--help` and tab completion answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib import metadata
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from unlearn.composition.explain import COMPOSING, explained, logged, release
from unlearn.composition.job import sweep_name
from unlearn.composition.place import naming_place
from unlearn.composition.register import register
from unlearn.composition.sweep import closing_sweep
from unlearn.console.visible import say
from unlearn.errors import ConfigurationError, UnlearnError

log = logging.getLogger(__name__)

register()

_failures: list[UnlearnError] = []
"""The failure of a single run, for :func:`main`; jobs of a sweep raise it, as Hydra asks."""


@hydra.main(version_base="1.3", config_path="pkg://unlearn.conf", config_name="config")
def task(cfg: DictConfig) -> float | list[float] | None:
    """Run one job and return its objective; its failure is in its own log before Hydra sees it."""
    from unlearn.composition.search import objective_values
    from unlearn.experiment.run import run

    job = HydraConfig.get()
    folder, overrides = Path(job.runtime.output_dir), list(job.overrides.task)
    try:
        return objective_values(cfg.objective, run(cfg, folder, overrides))
    except KeyboardInterrupt:
        log.error("stopped; summary.json holds what is known of this run")
        raise
    except Exception as error:
        failure = logged(error)
        if sweep_name() is not None:
            release(error)
            raise failure.with_traceback(None) from None
        _failures.append(failure)
    return None


def main() -> None:
    """Entry point of the console script and of `python -m unlearn`."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises then, instead of ending with status 1
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read by torch: threads must not spin
    if sys.argv[1:] == ["--version"]:  # Hydra would answer with its own
        print(f"unlearn {metadata.version('unlearn')}, Hydra {hydra.__version__}")
        return
    if "--clean" in sys.argv[1:]:  # folders follow, and no options that Hydra could read
        from unlearn.commands.clean import clean

        sys.exit(clean(sys.argv[1:]))
    try:
        with closing_sweep():
            task()
        sys.stdout.flush()
    except UnlearnError as error:
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `unlearn --help | head`: nobody reads on, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except COMPOSING as error:
        # Hydra's own, before any job began: what a job raises is an UnlearnError by now.
        say(f"unlearn: {explained(naming_place(error))}", sys.stderr)
        sys.exit(ConfigurationError.exit_status)
    if _failures:
        sys.exit(_failures[0].exit_status)
