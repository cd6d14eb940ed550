"""The check of run folders that lies beside the checkout, where there is one."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@cache
def checker() -> ModuleType:
    """The check of run folders that lies beside the checkout, where there is one."""
    path = ROOT.parent / "shared" / "tools" / "check_run.py"
    if not path.exists():
        pytest.skip("the check of run folders is not here: it lies beside the checkout")
    spec = importlib.util.spec_from_file_location("check_run", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
