"""How well `unlearn-requests find` finds planted rows, how fast, and in how much memory.

    python -m benchmarks.finding                          # 200,000 rows, then 2,000,000
    python -m benchmarks.finding --rows 20000 --no-large

benchmarks/planted.py makes the data, in a temporary folder. Each search is a process of its own, so
that its peak of memory and its processor time are its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.planted import EMAIL, NAMES, NOT_ABOUT, NUMBER, write_planted

WIDTH = 100
TARGET = 0.98
ROOT = Path(__file__).parents[1]


def search(data: Path, out: Path) -> tuple[str, int, float]:
    """Search in a new process; returns what it says, its peak of memory and its seconds of CPU."""
    flags = [f"--name={name}" for name in NAMES.values()]
    flags += [f"--email={EMAIL}", f"--id={NUMBER}", f"--not-about={NOT_ABOUT}"]
    # Where Linux counts, not ru_maxrss, in which the memory of this process lives on.
    code = (
        "import re, resource, sys; from pathlib import Path; "
        "from unlearn.commands.find import find_command; "
        "status = find_command(sys.argv[1:]); "
        "used = resource.getrusage(resource.RUSAGE_SELF); told = Path('/proc/self/status'); "
        "found = re.search(r'VmHWM:\\s+(\\d+)', told.read_text() if told.exists() else ''); "
        "print(found[1] if found else used.ru_maxrss, used.ru_utime + used.ru_stime); "
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(data), "--out", str(out), *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    *said, used = done.stdout.splitlines()
    peak, seconds = used.split()
    unit = 1 if sys.platform == "darwin" else 1024
    return said[0], int(peak) * unit, float(seconds)


def found_in(out: Path) -> dict[int, str]:
    """Return where each found line of the data went."""
    return {
        int(json.loads(line)["found_in"].rpartition(":")[2]): split
        for split in ("forget", "unsure")
        for line in (out / f"{split}.jsonl").open(encoding="utf-8")
    }


def shown(truth: Mapping[int, str], found: Mapping[int, str]) -> tuple[Table, list[str]]:
    """Return the table of what became of the planted rows, and what was missed or wrong."""
    went: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for line, kind in truth.items():
        went[kind][found.get(line, "missed")] += 1
    table = Table(title="planted rows")
    for column in ("what", "rows", "forget", "unsure", "missed", "recall"):
        table.add_column(column, justify="left" if column == "what" else "right", no_wrap=True)
    for kind in sorted(went):
        of = went[kind]
        recall = 1 - of["missed"] / of.total()
        counts = (of.total(), of["forget"], of["unsure"], of["missed"])
        table.add_row(kind, *map(str, counts), f"{recall:.3f}")
    mine = {line for line, kind in truth.items() if not kind.startswith("namesake")}
    there = mine & found.keys()
    forget = {line for line, split in found.items() if split == "forget"}
    others = {line for line in found if line not in truth}
    namesakes = len(found.keys() - mine - others)
    told = [
        f"recall on the subject's rows: {len(there) / len(mine):.4f} (at least {TARGET}: "
        f"{'met' if len(there) >= TARGET * len(mine) else 'missed'}); "
        f"{len(mine & forget) / len(mine):.4f} without the rows to decide",
        f"precision of forget: {len(mine & forget) / max(len(forget), 1):.4f} "
        f"({len(forget - mine)} of {len(forget)} are not the subject's); "
        f"of forget and unsure together: {len(there) / max(len(found), 1):.4f} "
        f"({namesakes} of people of the same name, {len(others)} of others)",
    ]
    return table, told


def main(arguments: list[str] | None = None) -> None:
    """Make the data, search it, print."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.finding", description="What finding rows costs and finds."
    )
    parser.add_argument("--rows", type=int, default=200_000, help="rows (default: 200,000)")
    parser.add_argument("--each", type=int, default=24, help="planted rows a kind (default: 24)")
    parser.add_argument("--no-large", action="store_true", help="leave out ten times as many rows")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(f"{date.today()}, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for times in (1,) if options.no_large else (1, 10):
            rows = times * options.rows
            data = folder / "data.jsonl"
            truth = write_planted(data, rows, options.each)
            said, peak, spent = search(data, folder / f"found{times}")
            found = found_in(folder / f"found{times}")
            console.print(
                f"{said}\npeak {peak / 2**20:.0f} MiB for {data.stat().st_size:,} bytes of data; "
                f"{spent:.1f} s of CPU, {rows / spent:,.0f} rows a second of CPU",
                soft_wrap=True,
            )
            table, told = shown(truth, found)
            if times == 1:
                console.print(table)
                missed = [line for line in truth if line not in found]
                lines = data.read_text(encoding="utf-8").split("\n")
                for line in [n for n in missed if not truth[n].startswith("namesake")][:20]:
                    console.print(f"missed {truth[line]}: {lines[line - 1]}", soft_wrap=True)
                for line in [n for n in found if n not in truth][:20]:
                    console.print(f"{found[line]}, of others: {lines[line - 1]}", soft_wrap=True)
            for line in told:
                console.print(line, soft_wrap=True)


if __name__ == "__main__":
    main()
