"""What a step costs, in time and memory, against the loop that one would write without the package.

    make bench                                        # on what is there: a GPU, else the CPU
    python -m benchmarks.step --device cpu --pairs 40

The two loops (benchmarks/loops.py) take turns in one process, so that what else the machine does
meets both alike; the median of the ratios of neighbours is what counts.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from datetime import date

import torch
import transformers
from rich.console import Console
from rich.table import Table

from benchmarks.loops import SHAPES, Bench, Work, always_probing
from benchmarks.methods import measure_methods
from unlearn.compute.device import Compute, resolve_device
from unlearn.data.batches import Batch
from unlearn.objectives import NegativeLogLikelihood
from unlearn.schedulers import Constant
from unlearn.weightings import Linear, NGDiff

STEP_BOUND, GEN_BOUND = 1.10, 1.05
"""Most that a step may cost against the plain loop, and a step with `gen` against one without."""
INTERVAL = 10
"""Steps from one probe of `gen` to the next: its default."""
WIDTH = 100
"""Columns where no terminal tells: rich's guess of 80 would cut the table in a file."""


@dataclass(frozen=True)
class Comparison:
    """Seconds a step of neighbours, (first, second)."""

    spent: list[tuple[float, float]]

    @property
    def quartiles(self) -> list[float]:
        """Lower quartile, median, upper quartile of first / second."""
        ratios = [first / second for first, second in self.spent]
        return statistics.quantiles(ratios, n=4, method="inclusive")

    @property
    def seconds(self) -> tuple[float, float]:
        """Median seconds of a step."""
        first, second = zip(*self.spent, strict=True)
        return statistics.median(first), statistics.median(second)

    def every(self, interval: int) -> Comparison:
        """Return it for `interval` steps of which one is `first` and the others are `second`."""
        mixed = [
            (((interval - 1) * second + first) / interval, second) for first, second in self.spent
        ]
        return Comparison(mixed)


def compare(bench: Bench, first: Work, second: Work, pairs: int) -> Comparison:
    """Time `pairs` pairs of steps; which of the two goes first alternates."""
    spent = []
    for pair in range(-1, pairs):  # the pair before the first warms caches and optimizer up
        order = (first, second) if pair % 2 else (second, first)
        taken = {work: bench.seconds(work) for work in order}
        if pair >= 0:
            spent.append((taken[first], taken[second]))
    return Comparison(spent)


def measure_time(bench: Bench, pairs: int) -> Table:
    """Return the table of ratios."""
    table = Table(title="time")
    for column in ("what", "median", "quartiles", "at most", "met", "seconds a step"):
        table.add_column(column, justify="left" if column == "what" else "right", no_wrap=True)

    def add(what: str, comparison: Comparison, bound: float) -> None:
        low, median, high = comparison.quartiles
        first, second = comparison.seconds
        met = "yes" if median <= bound else "no"
        spread, seconds = f"{low:.3f} – {high:.3f}", f"{first:#.3g} / {second:#.3g}"
        table.add_row(what, f"{median:.3f}", spread, f"{bound:.2f}", met, seconds)

    # Ours computes logits at answer positions only; the plain loop does so everywhere.
    for tokens, prompt_share in (("answers two thirds", 1 / 3), ("answers everywhere", 0.0)):
        batches = bench.batches(prompt_share)
        plain = bench.plain(batches)
        for name, weighting in (("NGDiff", NGDiff()), ("GradDiff", Linear())):
            ours = bench.ours(weighting, Constant(), batches)
            add(f"{name} / plain, {tokens}", compare(bench, ours, plain, pairs), STEP_BOUND)
    # Steps between probes run the same code as constant ones, so a pair of ten steps each would
    # only add noise. The search and the probed first steps are left out: they are paid once.
    batches = bench.batches(1 / 3)
    probed = bench.ours(NGDiff(), always_probing(), batches)
    constant = bench.ours(NGDiff(), Constant(), batches)
    one_in_ten = compare(bench, probed, constant, pairs).every(INTERVAL)
    add(f"NGDiff, gen / constant, probe every {INTERVAL}", one_in_ten, GEN_BOUND)
    return table


def measure_memory(bench: Bench) -> tuple[Table, str]:
    """Return the table of peaks and a line that explains it.

    A step must hold weights, two gradients and both optimizers' states; activations come on top.
    """
    batches = bench.batches(1 / 3)
    kinds = {
        "plain": bench.plain(batches),
        "NGDiff": bench.ours(NGDiff(), Constant(), batches),
        "NGDiff, probed": bench.ours(NGDiff(), always_probing(), batches),
        "GradDiff": bench.ours(Linear(), Constant(), batches),
    }
    for kind in ("plain", "NGDiff"):  # makes the optimizers' states
        kinds[kind]()
    weights = sum(p.numel() * p.element_size() for p in bench.model.parameters())
    states = [*bench.optimizer.state.values(), *bench.fused.state.values()]
    state = [value for values in states for value in values.values()]
    held = 3 * weights + sum(v.numel() * v.element_size() for v in state if torch.is_tensor(v))
    activations = _activations(bench, batches.step(0)[0][0].to(bench.device))

    table = Table(title="peak memory")
    for column in ("step", "GB", "÷ held", "÷ (held + activations)"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for name, work in kinds.items():
        torch.cuda.reset_peak_memory_stats(bench.device)
        work()
        peak = torch.cuda.max_memory_allocated(bench.device)
        values = (peak / 1e9, peak / held, peak / (held + activations))
        table.add_row(name, *(f"{value:.2f}" for value in values))
    return table, (
        f"held: weights + two gradients + the state of both optimizers, {held / 1e9:.2f} GB; "
        f"activations of one forward pass: {activations / 1e9:.2f} GB"
    )


def _activations(bench: Bench, batch: Batch) -> int:
    """Return the bytes that one forward pass takes at its peak."""
    before = torch.cuda.memory_allocated(bench.device)
    torch.cuda.reset_peak_memory_stats(bench.device)
    with Compute(bench.device, bench.bfloat16).autocast:
        NegativeLogLikelihood().sum(bench.model, batch)
    return torch.cuda.max_memory_allocated(bench.device) - before


def main(arguments: list[str] | None = None) -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser("python -m benchmarks.step", description="What a step costs.")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument("--pairs", type=int, default=15, help="pairs of steps (default: 15)")
    parser.add_argument("--small", action="store_true", help="a toy model, to try the command")
    options = parser.parse_args(arguments)
    if options.pairs < 2:
        parser.error(f"--pairs: {options.pairs}; allowed: 2 or more, quartiles need them")
    device = resolve_device(options.device)[0]
    if device.type not in ("cpu", "cuda"):
        parser.error(f"--device: {device}; allowed: auto, cpu, cuda, cuda:N")
    shape = SHAPES["small" if options.small else device.type]
    bench = Bench(shape, device)

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    parameters = sum(p.numel() for p in bench.model.parameters())
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    precision = "bfloat16 autocast" if bench.bfloat16 else "float32"
    console.print(
        f"{date.today()}, torch {torch.__version__}, transformers {transformers.__version__}, "
        f"{where}, threads: {torch.get_num_threads()}, clock: {bench.clock.__name__}\n"
        f"Llama of {parameters / 1e6:.1f} M parameters, {precision}; a task and step: {shape.rows} "
        f"rows of {shape.shortest} to {shape.longest} tokens; {options.pairs} pairs",
        soft_wrap=True,
    )
    memory = measure_memory(bench) if device.type == "cuda" else None
    with console.status("measuring ..."):
        console.print(measure_time(bench, options.pairs))
    if memory is None:
        console.print("memory: skipped; torch counts the peak of its allocations on CUDA only")
    else:
        console.print(*memory, sep="\n")
    del bench
    with console.status("measuring every method ..."):
        console.print(measure_methods(shape, device, max(3, options.pairs // 5)))


if __name__ == "__main__":
    main()
