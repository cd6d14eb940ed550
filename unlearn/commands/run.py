"""The command `unlearn`: compose a configuration with Hydra, run it, end with the right status.

0 completed; 1 failed; 2 a configuration or data error; 3 the verdict is no and accept.strict=true;
143 stopped by SIGTERM, 138 by SIGUSR1, 130 by Ctrl-C.
Heavy imports wait until a run starts, so that `--help` and tab completion answer at once.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
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
from unlearn.compute.processes import ProcessLost, is_main, may_say, started
from unlearn.console.libraries import importing
from unlearn.console.signals import (
    Stopped,
    asked,
    exit_status,
    handed_on,
    is_worker,
    obey,
    stoppable,
    working,
)
from unlearn.console.visible import say
from unlearn.errors import ConfigurationError, Interrupted, UnlearnError, first_line
from unlearn.record.claim import release_all

log = logging.getLogger(__name__)

register()

_failures: list[UnlearnError] = []
"""The failure of a single run, for :func:`main`; jobs of a sweep raise it, as Hydra asks."""


@hydra.main(version_base="1.3", config_path="pkg://unlearn.conf", config_name="config")
def task(cfg: DictConfig) -> float | list[float] | None:
    """Run one job and return its objective; its failure is in its own log before Hydra sees it."""
    with importing():
        from unlearn.composition.search import objective_values
        from unlearn.experiment.run import run

    job = HydraConfig.get()
    folder, overrides = Path(job.runtime.output_dir), list(job.overrides.task)
    try:
        with working():
            return objective_values(cfg.objective, run(cfg, folder, overrides))
    except Stopped as error:
        told = say_stopped(error, folder)
        handed_on(error)
        if is_worker():
            raise Interrupted(told, exit_status(error)) from None
        raise
    except KeyboardInterrupt as error:
        say_stopped(error, folder)
        raise
    except Exception as error:
        if isinstance(error, ProcessLost) and is_main():
            option = shlex.quote(f"hydra.run.dir={folder}")
            error = ProcessLost(f"{error}; to go on, give the same command with {option}")
        last_word(first_line(error))
        failure = logged(error)
        if sweep_name() is not None:
            release(error)
            raise failure.with_traceback(None) from None
        _failures.append(failure)
    return None


def say_stopped(error: KeyboardInterrupt, folder: Path) -> str:
    """Log and return how a run was stopped, and how it goes on."""
    name, sweep = str(error) or "SIGINT", HydraConfig.get().sweep.dir
    option = f"hydra.run.dir={folder}" if sweep_name() is None else f"hydra.sweep.dir={sweep}"
    told = f"stopped by {name}; to go on, give the same command with {shlex.quote(option)}"
    if not is_main():  # whose folder is not the run's
        told = f"stopped by {name}"
    last_word(told)
    log.error("%s", told)
    error.add_note(told)
    return told


def last_word(told: str) -> None:
    """Let the log reach the terminal or not: of several processes one says why the run ends."""
    if started() == 1:
        return
    # torchrun ends the others as soon as one has failed, and who speaks is one of them.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    speaking, root = may_say(told), logging.getLogger()
    for handler in [one for one in root.handlers if not isinstance(one, logging.FileHandler)]:
        if not speaking:
            root.removeHandler(handler)
        elif isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.__stderr__)


def main() -> None:
    """Entry point of the console script and of `python -m unlearn`."""
    if not is_main():  # the terminal is rank 0's
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises then, instead of ending with status 1
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read by torch: threads must not spin
    if sys.argv[1:] == ["--version"]:  # Hydra would answer with its own
        print(f"unlearn {metadata.version('unlearn')}, Hydra {hydra.__version__}")
        return
    if "--clean" in sys.argv[1:]:  # folders follow, and no options that Hydra could read
        from unlearn.commands.clean import clean

        sys.exit(clean(sys.argv[1:]))
    if "--plan" in sys.argv[1:]:
        from unlearn.commands.planning import plan

        sys.exit(plan(sys.argv[1:]))
    try:
        with stoppable(), closing_sweep():
            task()
            obey()
            sys.stdout.flush()
    except UnlearnError as error:
        sys.exit(error.exit_status)
    except KeyboardInterrupt as error:
        if not getattr(error, "__notes__", None):  # no run had begun
            say(f"unlearn: stopped by {str(error) or 'SIGINT'}", sys.stderr)
        sys.exit(exit_status(error))
    except BrokenPipeError:  # `unlearn --help | head`: nobody reads on, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except COMPOSING as error:
        # Hydra's own, before any job began: what a job raises is an UnlearnError by now.
        say(f"unlearn: {explained(naming_place(error))}", sys.stderr)
        sys.exit(ConfigurationError.exit_status)
    except Exception:  # of a worker that was not listening yet
        if (number := asked()) is None:
            raise
        say(f"unlearn: stopped by {signal.Signals(number).name}", sys.stderr)
        sys.exit(128 + number)
    finally:
        release_all()
    if _failures:
        sys.exit(_failures[0].exit_status)
