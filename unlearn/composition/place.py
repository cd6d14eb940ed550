"""Where a run or a sweep may write, asked before Hydra makes the folder or opens the log in it.

The folder is this process's from then on, and one with the default name is nobody else's.
"""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unlearn.composition.explain import explained
from unlearn.compute.processes import is_main, may_say, rank, started
from unlearn.console.visible import say
from unlearn.errors import ConfigurationError
from unlearn.record.claim import claim

READ = (
    *(f"model.{name}" for name in ("path", "base", "tokenizer")),
    *(f"data.{name}" for name in ("path", "forget", "retain", "general", "holdout")),
    "reference",
    "attack_before",
)
"""Options that may name a folder, which is read and never written to."""


_asked: list[Path] = []
"""The folder of the run or the sweep that is to begin in this process."""


def naming_place(error: Exception) -> Exception:
    """Return the error with the folder in which Hydra wrote, where a full disk tells no path."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None and _asked:
        error.filename = str(_asked[-1])
    return error


class RequirePlace(Callback):
    """Ends the command where its folder holds what is not its own; not even a log is opened there.

    Hydra makes a warning of every exception of a callback; an exit is none.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Take the folder of the run."""
        self._require(config, "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Take the folder of the sweep; those of its jobs are taken as each begins."""
        self._require(config, "hydra.sweep.dir")

    def _require(self, config: DictConfig, option: str) -> None:
        if option == "hydra.run.dir" and not is_main():
            own_place(config)
            return
        try:
            if started() > 1 and option == "hydra.sweep.dir":
                raise ConfigurationError(
                    f"torchrun: {started()} processes are one run, and -m is a sweep of many; "
                    "start one `torchrun -m unlearn` a job"
                )
            make_new(config, option)
            folder = Path.cwd() / str(OmegaConf.select(config, option))
            claim(folder, option=option)
            require_place(folder, config, sweep=option == "hydra.sweep.dir")
            _asked[:] = [folder]
        except OmegaConfBaseException:
            return  # Hydra looks it up next, and says so
        except (ConfigurationError, OSError, ValueError) as error:
            if may_say(explained(error)):
                say(f"unlearn: {explained(error)}", sys.stderr)
            sys.exit(ConfigurationError.exit_status)


def own_place(config: DictConfig) -> None:
    """Give a process that is not rank 0 a folder for its log, which goes when it ends."""
    folder = tempfile.mkdtemp(prefix=f"unlearn-rank-{rank()}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    OmegaConf.update(config, "hydra.run.dir", folder)


def make_new(config: DictConfig, option: str) -> None:
    """Make the folder where it has its default name, with a number where somebody was faster.

    Two commands may begin in one second; only one of them makes a folder.
    """
    folder = Path(str(OmegaConf.select(config, option)))
    drawn = OmegaConf.get_cache(config).get("start")
    if not drawn:
        return  # a name that somebody gave
    times = dict(drawn)
    for number in count(2):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            drawn.update({key: f"{time}-{number}" for key, time in times.items()})
            folder = Path(str(OmegaConf.select(config, option)))
        else:
            return


def require_place(folder: Path, config: Any, sweep: bool = False) -> None:
    """Raise ConfigurationError where a run or a sweep must not write into the folder."""
    from unlearn.record.ownership import require_free

    option = "hydra.sweep.dir" if sweep else "hydra.run.dir"
    for name, value in _folders_read(config):
        if folder.resolve().is_relative_to(value.resolve()):
            raise ConfigurationError(
                f"{option}: {str(folder)!r} lies in {name}={str(value)!r}, which is read and never "
                f"written to; give a folder elsewhere as {option}"
            )
    require_free(folder, sweep)


def _folders_read(config: Any) -> Iterator[tuple[str, Path]]:
    """Yield the options of :data:`READ` that name a folder which is there."""
    for name in READ:
        try:
            value = OmegaConf.select(config, name, throw_on_missing=False)
            words = name == "reference" and value in ("auto", "train", "none")
            if isinstance(value, str) and value and not words:
                folder = Path(value).expanduser()
                if folder.is_dir():
                    yield name, folder
        except (OmegaConfBaseException, OSError, ValueError, RuntimeError):
            continue  # no folder; what is wrong with it is told with the option
