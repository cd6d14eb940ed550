"""What a sweep costs beside its jobs, and whether memory grows with their number.

    python -m benchmarks.sweep                # 60 small jobs under joblib, then in one process
    python -m benchmarks.sweep --launcher basic --jobs 20

Every job is a whole run of a toy model on generated data, with everything that a run writes. Hydra
calls `Stopwatch` when a job begins and when it has ended; the rest of the processor time is the
machinery: composing, copying and saving configurations, starting processes, moving results.
Processor time, as other programs disturb it less than the clock on the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

ROOT = Path(__file__).parents[1]
SHARE_BOUND, GROWTH_BOUND = 0.05, 1.0
"""Most that the machinery may take of the time of a sweep of default runs, and that a job may leave
behind, in MiB."""
DEFAULT_RUN = 45.0
"""Processor seconds of `unlearn` without options, one thread, target and reference in the cache.
The toy jobs take a small part of that, so that 60 of them are no matter of an hour."""
WARM = 5
"""Jobs of a process before its memory counts: libraries load and buffers grow to their size."""
SMALL = (
    "data.forget_rows=8",
    "data.retain_rows=16",
    "model.tiny.hidden_size=32",
    "model.tiny.layers=1",
    "model.tiny.heads=2",
    "model.tiny.intermediate_size=64",
    "model.tiny.vocabulary=400",
    "model.fine_tuning.epochs=2",
    "model.fine_tuning.floor=0",
    "evaluation.max_new_tokens=8",
    "evaluation.rows=4",
    "training.steps=4",
    "training.batch_size=4",
    "model.autocast=none",  # bfloat16's compiled kernels are kept by shape, up to a limit: no leak
    "tracker=none",
)


class Stopwatch(Callback):
    """Notes in each job's folder what it took, in which process, and the memory it began with."""

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        self.began, self.rss = time.process_time(), rss()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        spent = time.process_time() - self.began
        note = {"spent": spent, "ended": time.time(), "process": os.getpid(), "rss": self.rss}
        folder = Path(config.hydra.runtime.output_dir)
        (folder / "stopwatch.json").write_text(json.dumps(note), encoding="utf-8")


@dataclass(frozen=True)
class Sweep:
    """What the stopwatches of a finished sweep say."""

    spent: float
    """Processor seconds of all its processes."""
    jobs: list[dict[str, Any]]
    """The notes, in the order in which the jobs ended."""

    @property
    def machinery(self) -> float:
        """Processor seconds a job that the job itself did not have."""
        return (self.spent - sum(job["spent"] for job in self.jobs)) / len(self.jobs)

    @property
    def share(self) -> float:
        """Part of the time of a sweep of default runs that is machinery."""
        return self.machinery / (self.machinery + DEFAULT_RUN)

    @property
    def growth(self) -> float:
        """MiB a job leaves behind: the median, over processes, of the slope after WARM jobs."""
        slopes = []
        for process in {job["process"] for job in self.jobs}:
            own = [job["rss"] for job in self.jobs if job["process"] == process][WARM:]
            if len(own) > 2:
                slopes.append(statistics.linear_regression(range(len(own)), own).slope)
        return statistics.median(slopes) / 2**20 if slopes else float("nan")


def rss() -> int:
    """Return the resident memory of this process in bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def children() -> float:
    """Return the processor seconds of all processes that were started from here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def sweep(folder: Path, launcher: str, jobs: int, workers: int) -> Sweep:
    """Run a sweep over `jobs` seeds and read the stopwatches."""
    words = [f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}", f"seed=range({jobs})"]
    if launcher == "joblib":
        words.append(f"hydra.launcher.n_jobs={workers}")
    callback = "+hydra.callbacks.stopwatch._target_=benchmarks.sweep.Stopwatch"
    before = children()
    done = subprocess.run(
        [sys.executable, "-m", "unlearn", "-m", *words, *SMALL, callback],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    spent = children() - before
    if done.returncode:
        sys.exit(f"the sweep ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    notes = [json.loads(path.read_text()) for path in folder.glob("*/stopwatch.json")]
    return Sweep(spent, sorted(notes, key=lambda note: float(note["ended"])))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and end with status 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--launcher", choices=["joblib", "basic", "both"], default="both")
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args(arguments)
    launchers = ["joblib", "basic"] if chosen.launcher == "both" else [chosen.launcher]
    kept = True
    with tempfile.TemporaryDirectory() as folder:
        for launcher in launchers:
            measured = sweep(Path(folder, launcher), launcher, chosen.jobs, chosen.workers)
            sizes = [job["rss"] / 2**20 for job in measured.jobs]
            seconds = statistics.median(job["spent"] for job in measured.jobs)
            print(
                f"{launcher}: {len(measured.jobs)} jobs of {seconds:.2f} s (processor time), "
                f"machinery {measured.machinery:.2f} s a job: {measured.share:.1%} of a sweep of "
                f"default runs (at most {SHARE_BOUND:.0%}); memory {max(sizes[:WARM]):.0f} MiB at "
                f"most in the first {WARM} jobs, {sizes[-1]:.0f} in the last, "
                f"{measured.growth:+.2f} a job "
                f"(at most {GROWTH_BOUND:g})"
            )
            kept &= measured.share <= SHARE_BOUND and not measured.growth > GROWTH_BOUND
    sys.exit(not kept)


if __name__ == "__main__":
    main()
