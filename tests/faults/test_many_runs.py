"""1,500 runs in 1,500 groups are compared within the time, the memory and the page of a person."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.fabricated_sweep import fabricate_job

RUNS, CPU_SECONDS, MEBIBYTES, PAGE_BYTES = 1_500, 20, 600, 10_000_000

MEASURED = """
import pathlib, re, sys, time
from unlearn.commands.compare import main
main()
# Not ru_maxrss, in which the memory of the process that started this one lives on.
peak = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
print([time.process_time(), int(peak)], file=sys.stderr)
"""
"""The command, which tells last what it took: CPU-seconds, and KiB of memory at the most."""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of so many values of one option, all on the front: no run is better than another."""
    folder = tmp_path_factory.mktemp("many")
    first = fabricate_job(folder / "0-linear", "method=linear")
    summary = json.loads((first / "summary.json").read_text())
    for job in range(RUNS):
        run, share = folder / f"{job}-linear", (job + 1) / (RUNS + 1)
        if job:
            shutil.copytree(first, run)
        shown = ["method=linear", f"method.weighting.retain_share={share:.4f}"]
        summary |= {"name": run.name, "overrides": ["seed=0", "tracker=none", *shown]}
        summary["metrics"]["after"] |= {
            "forget/rougeL_recall": 0.11 + 0.6 * share**2,
            "forget/repetition": 0.09 * share,
            "mia_min_k": 0.9 - share / 2,
            "retain/rougeL_recall": 0.5 + 0.4 * share,
        }
        (run / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.mark.slow
@pytest.mark.faults
def test_many_runs_are_compared(sweep: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", MEASURED, str(sweep), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert data is not None
    (section,) = json.loads(data[1])["sections"]
    assert len(section["groups"]) == len(section["runs"]) == RUNS
    assert len(section["planes"]) == 3
    assert len(section["planes"][0]["front"]) == RUNS
    seconds, kibibytes = json.loads(done.stderr)
    print(f"{seconds:.1f} CPU-seconds, {kibibytes // 1024} MiB, {len(page.encode()):,} bytes")
    assert seconds < CPU_SECONDS
    assert kibibytes < MEBIBYTES * 1024
    assert len(page.encode()) < PAGE_BYTES
