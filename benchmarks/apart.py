"""A step of each loop in a process of its own: what each takes where no other was before it.

    python -m benchmarks.apart                          # the shape of SmolLM2-135M, six rounds
    python -m benchmarks.apart --shape small --rounds 2

Large tensors are pages that the system hands out and takes back at each step. In one process a loop
is given what another has left behind, and which of two is the faster hangs on that. Here they take
turns as processes; the ratios are of the same round. Only what a CPU does is counted.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.loops import SHAPES, Bench, Work
from benchmarks.step import WIDTH
from unlearn.schedulers import Constant
from unlearn.weightings import Linear, NGDiff

LOOPS: dict[str, Callable[[Bench], Work]] = {
    "plain": lambda bench: bench.plain(bench.batches(1 / 3)),
    "NGDiff": lambda bench: bench.ours(NGDiff(), Constant(), bench.batches(1 / 3)),
    "GradDiff": lambda bench: bench.ours(Linear(), Constant(), bench.batches(1 / 3)),
}
WARM, STEPS = 3, 6
"""Steps that are not counted, and those that are."""


def measure(shape: str, loop: str) -> dict[str, float]:
    """Return what a step takes of this process's time, pages and memory."""
    torch.set_num_threads(1)
    step = LOOPS[loop](Bench(SHAPES[shape], torch.device("cpu")))
    for _ in range(WARM):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(STEPS):
        step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return {
        "seconds": (user + system) / STEPS,
        "system": system / STEPS,
        "pages": (after.ru_minflt - before.ru_minflt) / STEPS,
        "peak": 1024.0 * after.ru_maxrss,
    }


def measured_apart(shape: str, loop: str) -> dict[str, float]:
    """Return :func:`measure` of a process of its own."""
    words = [sys.executable, "-m", "benchmarks.apart", "--shape", shape, "--loop", loop]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def table_of(rounds: list[dict[str, dict[str, float]]]) -> Table:
    """Return medians, and the quartiles of each loop's time over that of the plain one."""
    table = Table(title=f"a step of a process of its own, {len(rounds)} rounds")
    for column in ("loop", "÷ plain", "quartiles", "CPU s", "of it system", "pages", "peak GB"):
        table.add_column(column, justify="left" if column == "loop" else "right", no_wrap=True)
    for loop in LOOPS:
        ratios = [one[loop]["seconds"] / one["plain"]["seconds"] for one in rounds]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")

        def median(what: str, loop: str = loop) -> float:
            return statistics.median(one[loop][what] for one in rounds)

        table.add_row(
            *(loop, f"{middle:.3f}", f"{low:.3f} – {high:.3f}", f"{median('seconds'):.2f}"),
            *(f"{median('system'):.2f}", f"{median('pages'):,.0f}", f"{median('peak') / 1e9:.2f}"),
        )
    return table


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser("python -m benchmarks.apart", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="smollm2")
    parser.add_argument("--rounds", type=int, default=6, help="rounds, two at least (default: 6)")
    parser.add_argument("--loop", choices=LOOPS, help="this one alone, in this process")
    options = parser.parse_args()
    if options.loop is not None:
        print(json.dumps(measure(options.shape, options.loop)))
        return
    if options.rounds < 2:
        parser.error(f"--rounds: {options.rounds}; allowed: 2 or more, quartiles need them")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    rounds = []
    for number in range(options.rounds):
        order = list(LOOPS) if number % 2 else list(reversed(LOOPS))
        rounds.append({loop: measured_apart(options.shape, loop) for loop in order})
        print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
    console.print(f"torch {torch.__version__}, {options.shape}: {SHAPES[options.shape]}")
    console.print(table_of(rounds))


if __name__ == "__main__":
    main()
