"""What a step costs, against the loop that a good engineer would write without this package.

    make bench                                        # on what is there: a GPU, else the CPU
    python -m benchmarks.step --device cpu --pairs 40

The plain loop: two forward passes, two backward passes into the same `.grad`, one step of AdamW.
It shares model, optimizer and rows with ours and gets its batches collated beforehand; ours
collates at every step. The two take turns in one process, so that what else the machine does meets
both alike, and the median of the ratios of neighbours is what counts.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.optim import AdamW
from transformers import LlamaConfig, LlamaForCausalLM

from unlearn.data.batches import Batch, PairedBatches
from unlearn.data.tokens import Example
from unlearn.models.load import autocast_context, resolve_device
from unlearn.objectives import Ascent, NegativeLogLikelihood
from unlearn.schedulers import Constant, Gen, Scheduler
from unlearn.training import Method, Trainer
from unlearn.weightings import Linear, NGDiff, Weighting

STEP_BOUND, GEN_BOUND = 1.10, 1.05
"""Most that a step may cost against the plain loop, and a step with `gen` against one without."""
INTERVAL = 10
"""Steps from one probe of `gen` to the next: its default."""
RATE = 1e-6
"""Learning rate: small, so that hundreds of steps on random tokens stay finite."""
Work = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """A Llama with random weights, and the batch of each of the two tasks."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int
    rows: int
    shortest: int
    longest: int
    """Tokens of a row: its length is drawn between the two."""


SHAPES = {
    "small": Shape(64, 2, 4, 4, 192, 1024, 4, 16, 24),
    "cpu": Shape(256, 10, 4, 4, 768, 8192, 8, 64, 96),
    "cuda": Shape(2048, 16, 32, 8, 8192, 128256, 8, 256, 256),  # the shape of Llama-3.2-1B
}


def build_model(shape: Shape) -> Any:
    """Return the model in float32, without the cache that only generation needs."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=shape.longest,
        tie_word_embeddings=True,
        use_cache=False,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    return LlamaForCausalLM(config).eval()  # as unlearn.models.load.ready leaves a model


def draw_rows(shape: Shape, prompt_share: float, draw: random.Random) -> list[Example]:
    """Return rows of random tokens; a prompt has one token at least, as position 0 is no target."""
    rows = []
    for _ in range(shape.rows):
        length = draw.randint(shape.shortest, shape.longest)
        ids = tuple(draw.randrange(2, shape.vocabulary) for _ in range(length))
        prompt = max(1, int(prompt_share * length))
        rows.append(Example(ids[:prompt], ids[prompt:]))
    return rows


class Bench:
    """One model and one optimizer, which all loops take turns with."""

    def __init__(self, shape: Shape, device: torch.device) -> None:
        self.shape, self.device = shape, device
        self.bfloat16 = device.type == "cuda"
        self.model = build_model(shape).to(device)
        self.optimizer = AdamW(self.model.parameters(), lr=RATE)

    def batches(self, prompt_share: float) -> PairedBatches:
        draw = random.Random(0)
        sets = [draw_rows(self.shape, prompt_share, draw) for _ in range(2)]
        return PairedBatches(*sets, self.shape.rows, None, pad=0, seed=0)

    def ours(self, weighting: Weighting, scheduler: Scheduler, batches: PairedBatches) -> Work:
        """Return the step of the package."""
        method = Method(Ascent(), NegativeLogLikelihood(), weighting)
        autocast = autocast_context(self.bfloat16, self.device)
        steps = 10**9  # never reached; only decaying schedules would ask for the end
        return Trainer(self.model, method, scheduler, self.optimizer, batches, steps, autocast).step

    def plain(self, batches: PairedBatches) -> Work:
        """Return the step of the plain loop."""
        both = [batch.to(self.device) for part in batches.step(0) for batch in part]
        pairs = [(batch, plain_labels(batch)) for batch in both]

        def step() -> None:
            for batch, labels in pairs:
                with self.plain_autocast():
                    loss = self.model(
                        input_ids=batch.input_ids,
                        attention_mask=batch.attention_mask,
                        labels=labels,
                    ).loss
                loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

        return step

    def plain_autocast(self) -> AbstractContextManager:
        return torch.autocast("cuda", dtype=torch.bfloat16) if self.bfloat16 else nullcontext()

    def seconds(self, work: Work) -> float:
        """Return the wall time of `work`, the device's queue included."""
        self.wait()
        started = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - started

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def compare(self, first: Work, second: Work, pairs: int, steps: int = 1) -> Comparison:
        """Time `pairs` pairs of `steps` steps each, the two taking turns step by step."""
        spent = []
        for pair in range(-1, pairs):  # the pair before the first warms caches and optimizer up
            total = {first: 0.0, second: 0.0}
            for step in range(steps):
                order = (first, second) if (pair + step) % 2 else (second, first)
                for work in order:
                    total[work] += self.seconds(work)
            if pair >= 0:
                spent.append((total[first] / steps, total[second] / steps))
        return Comparison(spent)


def plain_labels(batch: Batch) -> Tensor:
    """Return labels (B, T) as transformers wants them: −100 where no loss is taken."""
    return batch.input_ids.masked_fill(~batch.answer_mask, -100)


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


def peak_memory(bench: Bench) -> tuple[dict[str, int], int, int]:
    """Return, in bytes: peaks by kind of step, what a step must hold, activations of a forward.

    A step must hold weights, two gradients and the optimizer's state; activations come on top.
    """
    batches = bench.batches(prompt_share=1 / 3)
    every = Gen(interval=1, search=False, first_probes=1)
    kinds = {
        "plain": bench.plain(batches),
        "NGDiff": bench.ours(NGDiff(), Constant(), batches),
        "NGDiff, probed": bench.ours(NGDiff(), every, batches),
        "GradDiff": bench.ours(Linear(), Constant(), batches),
    }
    kinds["plain"]()  # makes the optimizer's state
    peaks = {}
    for name, work in kinds.items():
        torch.cuda.reset_peak_memory_stats(bench.device)
        work()
        peaks[name] = torch.cuda.max_memory_allocated(bench.device)
    weights = sum(p.numel() * p.element_size() for p in bench.model.parameters())
    state = [v for values in bench.optimizer.state.values() for v in values.values()]
    held = 3 * weights + sum(v.numel() * v.element_size() for v in state if torch.is_tensor(v))

    batch = batches.step(0)[0][0].to(bench.device)
    before = torch.cuda.memory_allocated(bench.device)
    torch.cuda.reset_peak_memory_stats(bench.device)
    with autocast_context(bench.bfloat16, bench.device):
        loss = NegativeLogLikelihood().sum(bench.model, batch)
    activations = torch.cuda.max_memory_allocated(bench.device) - before
    del loss
    return peaks, held, activations


def measure(bench: Bench, pairs: int, console: Console) -> None:
    """Take all measurements and print them."""
    table = Table(title="time")
    for column in ("what", "median", "quartiles", "at most", "met", "seconds a step"):
        justify = "left" if column == "what" else "right"
        table.add_column(column, justify=justify, no_wrap=True)

    def add(what: str, comparison: Comparison, bound: float) -> None:
        low, median, high = comparison.quartiles
        first, second = comparison.seconds
        met = "yes" if median <= bound else "no"
        spread, seconds = f"{low:.3f} – {high:.3f}", f"{first:.4f} / {second:.4f}"
        table.add_row(what, f"{median:.3f}", spread, f"{bound:.2f}", met, seconds)

    with console.status("measuring ..."):
        peaks = peak_memory(bench) if bench.device.type == "cuda" else None
        for tokens, share in (("answers two thirds", 1 / 3), ("answers everywhere", 0.0)):
            batches = bench.batches(share)
            plain = bench.plain(batches)
            for name, weighting in (("NGDiff", NGDiff()), ("GradDiff", Linear())):
                ours = bench.ours(weighting, Constant(), batches)
                add(f"{name} / plain, {tokens}", bench.compare(ours, plain, pairs), STEP_BOUND)
        batches = bench.batches(1 / 3)
        # Without its search and its first probes: they are paid once, not every ten steps.
        gen = Gen(interval=INTERVAL, search=False, first_probes=1)
        probed = bench.ours(NGDiff(), gen, batches)
        constant = bench.ours(NGDiff(), Constant(), batches)
        blocks = bench.compare(probed, constant, max(4, pairs // 3), steps=INTERVAL)
        add(f"NGDiff, gen / constant, {INTERVAL} steps", blocks, GEN_BOUND)
    console.print(table)
    if peaks is None:
        console.print("memory: skipped; torch counts the peak of its allocations on CUDA only")
    else:
        print_memory(*peaks, console)


def print_memory(peaks: dict[str, int], held: int, activations: int, console: Console) -> None:
    """Print the peaks against what a step must hold, without and with activations."""
    table = Table(title="peak memory")
    for column in ("step", "GB", "÷ held", "÷ (held + activations)"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for name, peak in peaks.items():
        values = (peak / 1e9, peak / held, peak / (held + activations))
        table.add_row(name, *(f"{value:.2f}" for value in values))
    console.print(table)
    console.print(
        f"held: weights + two gradients + optimizer state, {held / 1e9:.2f} GB; "
        f"activations of one forward pass: {activations / 1e9:.2f} GB"
    )


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
    parameters = sum(p.numel() for p in bench.model.parameters())
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    precision = "bfloat16 autocast" if bench.bfloat16 else "float32"
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 100  # rich's guess of 80 would cut the table in a file
    console.print(
        f"{date.today()}, torch {torch.__version__}, transformers {transformers.__version__}, "
        f"{where}, {torch.get_num_threads()} threads, {precision}\n"
        f"Llama of {parameters / 1e6:.1f} M parameters; a task and step: {shape.rows} rows of "
        f"{shape.shortest} to {shape.longest} tokens; {options.pairs} pairs",
        soft_wrap=True,
    )
    measure(bench, options.pairs, console)


if __name__ == "__main__":
    main()
