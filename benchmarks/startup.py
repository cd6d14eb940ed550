"""What `unlearn --help` costs, against the import of Hydra that no command can do without.

    python -m benchmarks.startup              # `make bench` runs it too
    python -m benchmarks.startup --pairs 20

Each is a new process, and the two take turns; the clock is the processor time of the process, which
other programs disturb less than the one on the wall. What it may import at all is a test's matter
(tests/test_cli_startup.py).
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.sweep import children

ROOT = Path(__file__).parents[1]
BOUND = 4.0
"""Most that the command may take, in imports of Hydra: the median of the pairs."""
WIDTH = 100
"""Columns where no terminal tells: rich's guess of 80 would cut the table in a file."""
OURS, HYDRA = ("-m", "unlearn", "--help"), ("-c", "import hydra")


def seconds(words: Sequence[str]) -> float:
    """Return the processor seconds of Python with these arguments, from its start to its end."""
    before = children()
    subprocess.run([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return children() - before


def measure(pairs: int) -> list[tuple[float, float]]:
    """Return the seconds of `pairs` pairs, (ours, Hydra's); which goes first alternates."""
    spent = []
    for pair in range(pairs):
        order = (OURS, HYDRA) if pair % 2 else (HYDRA, OURS)
        taken = {words: seconds(words) for words in order}
        spent.append((taken[OURS], taken[HYDRA]))
    return spent


def shown(spent: Sequence[tuple[float, float]]) -> Table:
    """Return the table of the seconds of both and of the ratios of neighbours."""
    table = Table(title="start")
    for column in ("what", "least", "median", "at most", "met"):
        table.add_column(column, justify="left" if column == "what" else "right", no_wrap=True)
    ours, hydra = zip(*spent, strict=True)
    ratios = [one / other for one, other in spent]
    for what, values in (("unlearn --help, seconds", ours), ("import hydra, seconds", hydra)):
        table.add_row(what, f"{min(values):.2f}", f"{statistics.median(values):.2f}", "", "")
    median = statistics.median(ratios)
    met = "yes" if median <= BOUND else "no"
    what = "unlearn --help / import hydra"
    table.add_row(what, f"{min(ratios):.2f}", f"{median:.2f}", f"{BOUND:.2f}", met)
    return table


def main(arguments: list[str] | None = None) -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.startup", description="What unlearn --help costs."
    )
    parser.add_argument("--pairs", type=int, default=9, help="pairs of processes (default: 9)")
    options = parser.parse_args(arguments)
    if options.pairs < 1:
        parser.error(f"--pairs: {options.pairs}; allowed: 1 or more")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(
        f"{date.today()}, Python {platform.python_version()}, "
        f"Hydra {metadata.version('hydra-core')}; "
        f"{options.pairs} pairs of processes, clock: their processor time",
        soft_wrap=True,
    )
    with console.status("measuring ..."):
        console.print(shown(measure(options.pairs)))


if __name__ == "__main__":
    main()
