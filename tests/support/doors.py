"""`unlearn-compare` and `unlearn-evaluate` in this process, as somebody types them."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import pytest

from support.command import clean_hydra


def door(module: str, cwd: Path, *words: str) -> tuple[int, str]:
    """Run a command in a folder; returns its status and all that it said."""
    out, status = io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        clean_hydra(),
        redirect_stdout(out),
        redirect_stderr(out),
    ):
        patch.setattr(sys, "argv", [f"unlearn-{module}", *words])
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        patch.chdir(cwd)
        try:
            import_module(f"unlearn.commands.{module}").main()
        except SystemExit as end:
            status = int(end.code or 0)
    return status, out.getvalue()
