"""The commands in the READMEs of `examples/` run as they are written, and end as they promise."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"^    ((?:export|unlearn)\b.*)$", re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Return the indented commands of a page, but for those that make and enter the environment."""
    return COMMAND.findall(page.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_own_data(tmp_path: Path) -> None:
    """From a folder that holds nothing but `examples/`, as the root of the repository does."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    told = commands(ROOT / "examples" / "own_data" / "README.md")
    assert [line.split()[0] for line in told] == ["export", "unlearn", "unlearn-evaluate"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(told)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Accepted: 3 of 3 conditions met." in done.stdout
    assert "Accepted: 2 of 2 conditions met." in done.stdout
    (run,) = (tmp_path / "runs").glob("*/*-ngdiff-files-tiny")
    summary = json.loads((run / "summary.json").read_text())
    before, after = (summary["metrics"][stage] for stage in ("before", "after"))
    assert before["forget/rougeL_recall"] > 0.9, "the target knew what was to be forgotten"
    assert after["forget/rougeL_recall"] <= 0.4
    assert after["retain/rougeL_recall"] >= 0.98 * before["retain/rougeL_recall"]
    assert before["kpi/pass_rate"] == 1
    record = json.loads((run / "evaluations" / "harder" / "record.json").read_text())
    assert record["metrics"]["after"]["kpi/pass_rate"] == 1
    assert "`kpi/pass_rate`" in (run / "report.md").read_text()
