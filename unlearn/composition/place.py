"""Where a run or a sweep may write, asked before Hydra makes the folder or opens the log in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unlearn.composition.explain import explained
from unlearn.console.visible import say
from unlearn.errors import ConfigurationError

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
        """Look at the folder of the run."""
        self._require(config, "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Look at the folder of the sweep; those of its jobs are looked at as each begins."""
        self._require(config, "hydra.sweep.dir")

    def _require(self, config: DictConfig, option: str) -> None:
        try:
            folder = Path.cwd() / str(OmegaConf.select(config, option))
            require_place(folder, config, sweep=option == "hydra.sweep.dir")
            _asked[:] = [folder]
        except OmegaConfBaseException:
            return  # Hydra looks it up next, and says so
        except (ConfigurationError, OSError) as error:
            say(f"unlearn: {explained(error)}", sys.stderr)
            sys.exit(ConfigurationError.exit_status)


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
