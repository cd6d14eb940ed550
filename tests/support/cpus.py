"""Run the tests that train under each instruction set of this CPU, and print which pass.

    python tests/support/cpus.py -n 2    # what follows goes to pytest

Sums are rounded differently by every instruction set, so a test that hangs on their last bits
passes on one machine and fails on another.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import torch

PRECISIONS = {
    "float32": ("none", "trains"),
    # Without instructions of its own, bfloat16 takes some twenty times as long.
    "bfloat16": ("bfloat16", "trains and not slow"),
}
"""model.autocast of each, and which tests."""
COUNTED = ("passed", "failed", "error", "xfailed", "xpassed", "skipped")


def capabilities() -> list[str]:
    """Return the values of ATEN_CPU_CAPABILITY that this CPU can run; any other would crash."""
    extensions = {
        "avx2": torch.cpu._is_avx2_supported(),
        "avx512": torch.cpu._is_avx512_supported(),
    }
    return ["default", *(name for name, supported in extensions.items() if supported)]


def run(variables: dict[str, str], marked: str, words: list[str]) -> tuple[int, str]:
    """Run the tests so marked with these variables; return the exit status and the last line."""
    command = [sys.executable, "-m", "pytest", "-m", marked, *words]
    # oneDNN chooses on its own, and has bfloat16 kernels for some CPUs only.
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", **variables}
    last = ""
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[2], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return process.returncode, last


def main() -> int:
    """Run every capability in every precision; print a table; fail if one failed."""
    own = torch.backends.cpu.get_cpu_capability().lower()
    names = capabilities()
    table, statuses = [], []
    for capability in names if own in names else [*names, own]:
        for precision, (autocast, marked) in PRECISIONS.items():
            print(f"\n=== {capability}, {precision}", flush=True)
            variables = {"UNLEARN_TEST_AUTOCAST": autocast}
            if capability in names:
                variables["ATEN_CPU_CAPABILITY"] = capability
            began = perf_counter()
            status, last = run(variables, marked, sys.argv[1:])
            counts = {name: int(n) for n, name in re.findall(r"(\d+) ([a-z]+?)s?\b", last)}
            name = capability + " (own)" * (capability == own)
            cells = [str(counts.get(column, 0)) for column in COUNTED]
            table.append([name, precision, *cells, f"{perf_counter() - began:.0f} s"])
            statuses.append(status)
    print()
    for row in (["capability", "precision", *COUNTED, "time"], *table):
        print("  ".join(f"{cell:<13}" if n < 2 else f"{cell:>7}" for n, cell in enumerate(row)))
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
