"""The command `unlearn` for the tests: in this process, or in one of its own; and a small run.

In this process it costs a second instead of ten. The small run is the whole path, from two trained
models to the report, with a model too small to learn anything.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

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
    "evaluation.max_new_tokens=8",
    "training.steps=4",
    "tracker=none",
)
"""A whole run in a second or two, once target and reference are in the cache."""


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


@dataclass
class Command:
    """Runs `unlearn` in this process, in a folder of the test's own."""

    folder: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    _count: int = field(default=0)

    def __call__(self, *overrides: str, run: Path | None = None) -> Done:
        """Run with exactly these overrides and a run folder of its own, unless they name one."""
        self._count += 1
        folder = run or self.folder / f"run{self._count}"
        words = list(overrides)
        if not any(word.startswith("hydra.run.dir") or word == "-m" for word in words):
            words.append(f"hydra.run.dir={folder}")
        self.capture.readouterr()
        status = self.in_process(words)
        out, err = self.capture.readouterr()
        return Done(status, out, err, folder)

    def small(self, *overrides: str, run: Path | None = None) -> Done:
        """Run the small run with further overrides."""
        return self(*SMALL, *overrides, run=run)

    def in_process(self, words: Sequence[str]) -> int:
        """Call the entry point and put back what Hydra changes of this process."""
        from unlearn import cli

        root = logging.getLogger()
        handlers, level = list(root.handlers), root.level
        # What `main` itself sets must not outlive the test.
        for name in ("HYDRA_FULL_ERROR", "OMP_WAIT_POLICY"):
            self.patch.setenv(name, os.environ.get(name, "0"))
        self.patch.setattr(sys, "argv", ["unlearn", *words])
        self.patch.chdir(self.folder)
        cli._failures.clear()
        GlobalHydra.instance().clear()
        try:
            cli.main()
        except SystemExit as end:
            assert isinstance(end.code, int)
            return end.code
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
            for handler in root.handlers:
                handler.close()
            root.handlers[:], root.level = handlers, level
        return 0


def run_process(
    *words: str,
    cwd: Path,
    program: Sequence[str] = ("-m", "unlearn"),
    before: Callable[[], None] | None = None,
    **variables: str,
) -> Done:
    """Run `python -m unlearn` in a process of its own; `before` runs in it first."""
    done = subprocess.run(
        [sys.executable, *program, *words],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=before,
    )
    return Done(done.returncode, done.stdout, done.stderr, cwd / "run")
