"""The command `unlearn` for the tests: in this process, or in one of its own; and a small run.

In this process it costs a second or two instead of ten. The small run is the whole path, from two
trained models to the report, with a model that is too small to learn anything.
"""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from absl import logging as absl_logging
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf._utils import get_yaml_loader

from unlearn.console import once
from unlearn.metrics.catalogue import Catalogue
from unlearn.storage.files import entries_below

AUTOCAST = f"model.autocast={os.environ.get('UNLEARN_TEST_AUTOCAST', 'none')}"
"""What runs compute in: float32 whatever `auto` says here, or what tests/support/cpus.py asks."""

DESCENT = ("scheduler=constant", "optimizer=sgd", "optimizer.lr=4e-2")
"""A fixed rate of plain descent: what training ends in hangs on rounding as little as it can."""

SMALL = (
    "data=minitofu",
    "data.forget_rows=8",
    "data.retain_rows=16",
    "model.tiny.hidden_size=32",
    "model.tiny.layers=1",
    "model.tiny.heads=2",
    "model.tiny.intermediate_size=64",
    "model.tiny.vocabulary=400",
    "model.fine_tuning.epochs=2",
    "model.fine_tuning.floor=0",
    "model.fine_tuning.accuracy=1",
    AUTOCAST,
    "evaluation.max_new_tokens=8",
    "training.steps=4",
    "training.batch_size=4",
    "tracker=none",
)
"""A whole run in two seconds, once target and reference are in the cache."""

QUICK = (*SMALL, "reference=none", "evaluation.rows=2", "evaluation.max_new_tokens=1")
"""The same where only the training matters."""

LEARNABLE = (
    "data.forget_rows=20",
    "data.retain_rows=80",
    "data.retain_scored=40",
    AUTOCAST,
    "model.tiny.layers=2",
    "evaluation.max_new_tokens=24",
    "training.steps=60",
    "tracker=none",
)
"""A run of some ten seconds whose model does learn its rows, and forgets them."""


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status, what it printed, and its run folder."""

    status: int
    out: str
    err: str
    folder: Path

    @property
    def said(self) -> str:
        """Everything that reached the person."""
        return self.out + self.err

    @property
    def warnings(self) -> list[str]:
        """The warnings in the log, but for those on the few tokens that tests let models say, and
        on options of :data:`SMALL` that a run has no use for."""
        lines = [line for line in self.log.splitlines() if " WARNING " in line]
        usual = ("evaluation.max_new_tokens", "given, and read by nothing here")
        return [line for line in lines if not any(words in line for words in usual)]

    @property
    def log(self) -> str:
        path = self.folder / "unlearn.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        text = (self.folder / "metrics.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The training lines."""
        return [line for line in self.lines if "train/lr" in line]

    @property
    def weights(self) -> bytes:
        """The unlearned model, bit by bit."""
        return (self.folder / "model" / "model.safetensors").read_bytes()


@cache
def parsed(text: str) -> bytes:
    """What OmegaConf's loader makes of a YAML file, which takes a sixth of a small run.

    Parsed once for all runs and compositions of a process of tests (conftest.py); pickled, of
    which a copy takes a fifth of the time of `deepcopy`.
    """
    return pickle.dumps(yaml.load(text, Loader=get_yaml_loader()))


def load_yaml(file: Any, Loader: Any) -> Any:
    """Parse a file that was parsed before no second time."""
    text = file.read() if hasattr(file, "read") else file
    return pickle.loads(parsed(text))


QUICK_YAML = SimpleNamespace(**{**vars(yaml), "load": load_yaml})


class Undrawn:
    """A figure in name only."""

    def savefig(self, path: Path) -> None:
        path.touch()


def undeclared(done: Done) -> list[str]:
    """Metrics of which the catalogue knows nothing, those of a user's measures apart."""
    if not (done.folder / "summary.json").exists():
        return []
    names = {name for flat in done.summary["metrics"].values() for name in flat or ()}
    known = Catalogue.recorded(done.summary)
    return [
        name
        for name in sorted(names)
        if not known[name].label and known[name].better is None and not name.startswith("kpi/")
    ]


class Command:
    """Runs `unlearn` in this process, in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def __call__(self, *words: str, run: Path | None = None, figures: bool = False) -> Done:
        """Run with these overrides and flags; a run folder of its own comes from here.

        Figures are left empty unless asked for: drawing them takes longer than everything else.
        """
        self._count += 1
        folder = run or self.folder / f"run{self._count}"
        place = "hydra.sweep.dir" if "-m" in words else "hydra.run.dir"
        named = run is None and any(word.startswith(place) for word in words)
        sent = list(words) if named else [*words, f"{place}={folder}"]
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["unlearn", *sent])
            patch.chdir(self.folder)
            if not any("experiment=" in word or "hydra.mode=" in word for word in words):
                # Hydra composes everything twice, first to see whether hydra.mode is set.
                patch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)
            if not figures:
                patch.setattr("unlearn.report.figures.plane_figure", lambda _: Undrawn())
                patch.setattr("unlearn.report.figures.evaluations_figure", lambda _: None)
                patch.setattr("unlearn.report.figures.training_figure", lambda _: Undrawn())
                patch.setattr("unlearn.report.figures.make_legible", lambda _: None)
            status = self._main(patch)
        done = Done(status, out.getvalue(), err.getvalue(), folder)
        assert not undeclared(done), "every metric of every run is in the catalogue"
        return done

    def _main(self, patch: pytest.MonkeyPatch) -> int:
        from unlearn.commands import run as cli

        for name in ("HYDRA_FULL_ERROR", "OMP_WAIT_POLICY"):  # `main` sets them; put them back
            patch.setenv(name, os.environ.get(name, "0"))
        patch.setattr(cli, "_failures", [])
        once.said.clear()  # what a process says once
        with clean_hydra():
            try:
                cli.main()
            except SystemExit as end:
                return int(end.code or 0)
            return 0


@contextmanager
def clean_hydra() -> Iterator[None]:
    """Start without what an earlier run left in this process, and leave nothing behind."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    # Hydra's logging closes every handler there is, and absl's (of rouge-score) closes its stream
    # with it: where pytest captures, that is all further output.
    absl_logging.get_absl_handler().python_handler.setStream(sys.__stderr__)
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None
        for handler in root.handlers:
            handler.close()
        root.handlers[:], root.level = handlers, level


def start(
    *words: str, cwd: Path, own_group: bool = False, module: str = "unlearn", **variables: str
) -> subprocess.Popen[str]:
    """Start `python -m unlearn` in a process of its own, which imports everything anew."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=cwd,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_group,
    )


def finish(process: subprocess.Popen[str], folder: Path) -> Done:
    """Wait for a process that :func:`start` started."""
    out, err = process.communicate()
    return Done(process.returncode, out, err, folder)


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, to see whether anything changed."""
    found = {}
    for path in sorted(entries_below(folder)):
        with suppress(FileNotFoundError, IsADirectoryError):
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def entries_in(cache: Path) -> dict[str, int]:
    """The files of a cache with their times; locks are no entries."""
    found = {}
    for path in sorted(entries_below(cache)):
        if path.is_file() and path.suffix != ".lock":
            with suppress(FileNotFoundError):
                found[str(path.relative_to(cache))] = path.stat().st_mtime_ns
    return found


def events_in(*folders: Path) -> int:
    """How far a run has come: its files, and the lines of its logs and records."""
    count = 0
    for folder in folders:
        for path in entries_below(folder):
            count += 1
            if path.suffix in (".log", ".jsonl"):
                with suppress(FileNotFoundError):
                    count += path.read_bytes().count(b"\n")
    return count


def row(question: str, answer: str) -> dict[str, str]:
    return {"question": question, "answer": answer}


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path
