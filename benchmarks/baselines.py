"""Whether the package became slower: counts and ratios against those of benchmarks/baselines.json.

    python -m benchmarks.baselines            # measure, and say what moved
    python -m benchmarks.baselines --renew    # measure, and write the file

Counted are passes through the layers a step, by method, and modules that a run imports: these have
to be the same. Ratios of processor time are against a plain loop in the same process, so that they
hold on another machine; one has moved where its quartiles lie outside the quartiles of the file.
Seconds are in neither. Exit status 1 where something became worse.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.loops import SHAPES, Bench
from benchmarks.methods import Workbench, build_method, method_names, probed
from benchmarks.step import INTERVAL, compare
from unlearn.schedulers import Constant, Gen
from unlearn.weightings import Linear, NGDiff

FILE = Path(__file__).with_name("baselines.json")
ROOT = Path(__file__).parents[1]
RUN = "import sys, unlearn.experiment.run; print(len(sys.modules))"
SLACK = 0.02
"""A ratio has not moved by so much, whatever its quartiles."""


def passes(folder: Path) -> dict[str, float]:
    """Return what a step of every method runs, in forward passes of one batch."""
    work = Workbench(SHAPES["small"], torch.device("cpu"), folder)
    found = {}
    for name in method_names():
        trainer = work.trainer(build_method(name, work.alternatives), Constant())
        found[f"passes a step, {name}"] = round(work.counted(trainer).total, 2)
    found["passes a step, ngdiff with gen"] = round(work.counted(probed(work), INTERVAL).total, 2)
    return found


def modules() -> int:
    """Return how many modules a new process imports for a run."""
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def ratios(shape: str, pairs: int) -> dict[str, list[float]]:
    """Return the quartiles of processor time against the plain loop, and of `gen` against none."""
    bench = Bench(SHAPES[shape], torch.device("cpu"))
    batches = bench.batches(1 / 3)
    plain, constant = bench.plain(batches), bench.ours(NGDiff(), Constant(), batches)
    probing = bench.ours(NGDiff(), Gen(interval=1, first_probes=1), batches)
    kinds = {
        "NGDiff / plain": compare(bench, constant, plain, pairs),
        "GradDiff / plain": compare(bench, bench.ours(Linear(), Constant(), batches), plain, pairs),
        "gen / constant": compare(bench, probing, constant, pairs).every(INTERVAL),
    }
    return {f"time, {name}": [round(q, 3) for q in one.quartiles] for name, one in kinds.items()}


def moved(
    before: dict[str, float | list[float]], now: dict[str, float | list[float]]
) -> dict[str, str]:
    """Return what is not as it was, each with the word worse, better, new or gone."""
    found = {}
    for name in dict.fromkeys([*before, *now]):
        if name not in before or name not in now:
            found[name] = "new" if name in now else "gone"
            continue
        old, new = before[name], now[name]
        low, high = (old[0], old[-1]) if isinstance(old, list) else (old, old)
        least, most = (new[0], new[-1]) if isinstance(new, list) else (new, new)
        slack = SLACK if isinstance(old, list) else 0
        if least > high + slack:
            found[name] = "worse"
        elif most < low - slack:
            found[name] = "better"
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure, compare or write, and say it."""
    parser = argparse.ArgumentParser("python -m benchmarks.baselines", description=__doc__)
    parser.add_argument("--renew", action="store_true", help="write the file")
    parser.add_argument("--pairs", type=int, default=15, help="pairs of steps (default: 15)")
    parser.add_argument("--small", action="store_true", help="a toy model, to try the command")
    options = parser.parse_args(arguments)
    if options.pairs < 2:
        parser.error(f"--pairs: {options.pairs}; allowed: 2 or more, quartiles need them")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        now: dict[str, float | list[float]] = {**passes(Path(folder))}
    now["modules imported for a run"] = modules()
    now |= ratios("small" if options.small else "cpu", options.pairs)
    if options.renew:
        lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(now[name])}" for name in now)
        FILE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
        print(f"written: {FILE.relative_to(ROOT)}, {len(now)} figures")
        return
    before = json.loads(FILE.read_text(encoding="utf-8"))
    found = moved(before, now)
    for name, how in found.items():
        print(f"{how}: {name}: {before.get(name, '–')} → {now.get(name, '–')}")
    print(f"{len(now) - len(found)} of {len(now)} figures are as in {FILE.relative_to(ROOT)}")
    sys.exit(1 if "worse" in found.values() else 0)


if __name__ == "__main__":
    main()
