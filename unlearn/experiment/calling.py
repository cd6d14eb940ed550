"""Experiments called from Python: what the command does, without a command line.

import unlearn
result = unlearn.run({"method": "ngdiff_guarded", "data": "files", "data.forget": "forget.jsonl",
                      "data.retain": "retain.jsonl", "model.path": "./my-model"})
model, tokenizer = result.load()
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from unlearn.composition.calls import Options, called, composed, words_of
from unlearn.compute.model import LanguageModel
from unlearn.console.visible import Formatter, LogFile
from unlearn.errors import ConfigurationError, UnlearnError
from unlearn.experiment.run import checked, completed
from unlearn.record.layout import LOG, read_summary


@dataclass(frozen=True)
class Result:
    """A completed run: its folder, and what the folder holds."""

    folder: Path
    summary: dict[str, Any]
    """The record of the run, ``summary.json``."""

    @staticmethod
    def of(folder: str | Path) -> Result:
        """Return the result that lies in the folder of a run; raises ConfigurationError."""
        try:
            summary = read_summary(Path(folder))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{folder}: its record cannot be read ({error})") from error
        if summary is None or summary.get("status") != "completed":
            raise ConfigurationError(f"{folder}: no completed run is there")
        return Result(Path(folder), summary)

    @property
    def metrics(self) -> dict[str, dict[str, float | None] | None]:
        """Flat metrics by stage: `before`, `after`, `reference`."""
        return self.summary["metrics"]

    @property
    def accepted(self) -> bool | None:
        """Whether every condition is met; None where there are none."""
        return self.summary["verdict"]["accepted"]

    @property
    def model(self) -> Path:
        """Folder of the unlearned model; of the model that was measured where nothing was trained.

        Raises UnlearnError where it is a name on the hub.
        """
        saved = self.folder / "model"
        known = Path(str(self.summary["model"]["target"]["path"])).expanduser()
        if not saved.is_dir() and not known.is_dir():
            raise UnlearnError(f"{self.folder}: it has no model of its own; its target is {known}")
        return saved if saved.is_dir() else known

    def load(self, **options: Any) -> tuple[LanguageModel, Any]:
        """Return the model and its tokenizer; `options` go to transformers' `from_pretrained`."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        safe = {"use_safetensors": True, "trust_remote_code": False}
        model = AutoModelForCausalLM.from_pretrained(self.model, **safe, **options)
        return model.eval(), AutoTokenizer.from_pretrained(self.model, trust_remote_code=False)


def run(
    options: Options = (),
    *,
    folder: str | Path | None = None,
    config_dir: str | Path | None = None,
) -> Result:
    """Run one experiment, as the command `unlearn` does, and return what came of it.

    `options`: overrides as the command takes them, ``["method=ngdiff", "seed=1"]``, or values by
    their names, ``{"method": "ngdiff", "training": {"steps": 60}}``, of which texts need no quotes.
    `folder`: where the run lies; a folder in which this very run was cut is gone on with, one in
    which it is complete is returned. Null: a new one below ``runs/``. `config_dir`: your groups.

    Raises ConfigurationError before any model loads, and UnlearnError where the run fails; a
    verdict of no raises nothing (:attr:`Result.accepted`). The calling program's logging is left
    alone: what is said goes to the logger ``unlearn`` and into ``unlearn.log``.
    """
    place = None if folder is None else Path(folder)
    return Result.of(called(words_of(options), _logged, place, _folder(config_dir)))


def check(options: Options = (), *, config_dir: str | Path | None = None) -> None:
    """Raise ConfigurationError where :func:`run` would, of options and rows; loads no model."""
    words = words_of(options)
    checked(composed(words, _folder(config_dir)), words)


def _folder(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _logged(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    with _log_in(folder):
        completed(cfg, folder, overrides)


@contextmanager
def _log_in(folder: Path) -> Iterator[None]:
    """Write what this package says into the log of the run, as the command does."""
    ours = logging.getLogger("unlearn")
    handler = LogFile(folder / LOG, encoding="utf-8")
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    level = ours.level
    ours.addHandler(handler)
    if ours.getEffectiveLevel() > logging.INFO:
        ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.setLevel(level)
        ours.removeHandler(handler)
        handler.close()
