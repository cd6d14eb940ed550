"""What a step costs on a GPU, of a 1.2B and an 8B Llama with random weights: nothing is downloaded.

    python -m benchmarks.gpu                       # one CUDA GPU; within ten minutes on an H100
    python -m benchmarks.gpu --device cpu --small  # toy models: that the command works

For each recipe: seconds a step, the share of the matrix peak measured on this card, the step
against the bare loop (two forward and two backward passes, one step of the same optimizer), and the
peak of memory against `unlearn --plan`. A recipe that does not fit the card by that plan is left
out. Then a step on rows of uneven length, on more and on longer ones, and one of fixed weights. At
the end `unlearn` itself runs, the embedded default, and TOFU forget01 where UNLEARN_TOFU_PATH says
where that is. What was found is told at once, too, on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.loops import plain_labels
from benchmarks.memory import config_of, trainer_of
from unlearn.compute.checkpointing import recompute_activations
from unlearn.compute.device import memory_there, resolve_device
from unlearn.compute.memory import free_memory
from unlearn.models.four_bits import weights_in
from unlearn.training.footprint import Rows, footprint
from unlearn.training.recipes import FLOAT32, RECIPES, SPARE, Recipe, there
from unlearn.weightings import Linear, NGDiff

SHAPES: dict[str, dict[str, int]] = {
    "1.2B": {
        **{"hidden_size": 2048, "intermediate_size": 8192, "layers": 16},
        **{"key_value_heads": 8, "vocab_size": 128256},
    },
    "8B": {
        **{"hidden_size": 4096, "intermediate_size": 14336, "layers": 32},
        **{"key_value_heads": 8, "vocab_size": 128256, "untied": 1},
    },
}
SMALL = {"toy": {"hidden_size": 128, "intermediate_size": 256, "layers": 2}}
ROWS, SMALL_ROWS = Rows(8, 256, 128), Rows(2, 32, 16)
LONG = Rows(4, 2048, 128)
UNEVEN = (0.7, 1.0, 0.4, 0.8, 0.25, 0.9, 0.55, 0.95)
"""Shares of the columns that rows of uneven length have; seven tenths on average."""
CHECKPOINTED = ("8B",)
"""Shapes whose activations are computed again."""
CHOSEN = ("full", "bf16, 8-bit", "bf16, 8-bit, parked", "LoRA", "LoRA, bf16", "QLoRA")
QUICK = ["data.forget_rows=8", "data.retain_rows=16", "model.fine_tuning.epochs=1"]
QUICK += ["training.steps=2", "evaluation.rows=2", "evaluation.max_new_tokens=2"]
SIDE = 8192
"""Rows and columns of the matrices whose product shows the peak."""


def waited(device: torch.device) -> float:
    """Return the time once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def median_seconds(work: Callable[[], object], device: torch.device, times: int) -> float:
    """Return the median time of `work`, after two that warm up."""
    spent = []
    for number in range(times + 2):
        started = waited(device)
        work()
        if number >= 2:
            spent.append(waited(device) - started)
    return statistics.median(spent)


def matrix_peak(device: torch.device, side: int) -> float:
    """Return the measured operations a second of a bfloat16 product."""
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    return 2 * side**3 / median_seconds(lambda: a @ a, device, 10)


def operations(weights: int, tokens: int, adapter: bool) -> float:
    """Return those of all tokens: 2 a weight forward, 2 for inputs and 2 for weights back.

    Frozen weights need no gradient of their own. Those of attention, a few per cent, are left out.
    """
    return (4 if adapter else 6) * weights * tokens


@dataclass(frozen=True)
class Case:
    """One step to measure."""

    model: str
    shape: dict[str, int]
    recipe: Recipe
    rows: Rows = ROWS
    uneven: bool = False
    linear: bool = False
    """Whether its weights are fixed (graddiff), not NGDiff's."""

    @property
    def read(self) -> str:
        """What its rows are, in words."""
        return f"{self.rows.rows} × {self.rows.tokens}{' uneven' if self.uneven else ''}"

    @property
    def method(self) -> str:
        """The method's name."""
        return "graddiff" if self.linear else "ngdiff"


def cases(small: bool, device: torch.device) -> list[Case]:
    """Return every recipe on rows of one length, then a few on others."""
    shapes, rows = (SMALL, SMALL_ROWS) if small else (SHAPES, ROWS)
    by_name = {recipe.name: recipe for recipe in RECIPES}
    found = [Case(*model, by_name[one], rows) for model in shapes.items() for one in CHOSEN]
    name, shape = next(iter(shapes.items()))
    full, least = by_name["full"], by_name["bf16, 8-bit"]
    found += [Case(name, shape, full, rows, uneven=True)]
    found += [Case(name, shape, full, rows, uneven=it, linear=True) for it in (False, True)]
    if not small:
        more = replace(rows, rows=4 * rows.rows)
        found += [Case(name, shape, full, more, uneven=True)]
        found += [Case(name, shape, least, which, uneven=True) for which in (more, LONG)]
    return [case for case in found if there(case.recipe, device)]


def measure(case: Case, device: torch.device) -> dict[str, Any]:
    """Return what a step takes."""
    recipe, rows, checkpointed = case.recipe, case.rows, case.model in CHECKPOINTED
    config = config_of(case.shape, rows.tokens)
    autocast = device.type == "cuda" and recipe.weight == FLOAT32
    planned = footprint(config, recipe, rows, autocast, checkpointed)
    room, _ = memory_there(device)
    if planned.peak > SPARE * room:
        return {"planned": planned.peak, "left out": "does not fit"}
    weighting, shares = Linear() if case.linear else NGDiff(), UNEVEN if case.uneven else (1.0,)
    trainer = trainer_of(config, recipe, rows, device, weighting, shares)
    trainer.compute = replace(trainer.compute, bfloat16=autocast)
    if checkpointed:
        recompute_activations(trainer.model)
    if device.type == "cuda":
        trainer.step()  # makes the optimizer's state
        torch.cuda.reset_peak_memory_stats(device)
    ours = median_seconds(trainer.step, device, 5)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    model: Any = trainer.model
    batches = [batch.to(device) for part in trainer.batches.step(0) for batch in part]
    labelled = [(batch, plain_labels(batch)) for batch in batches]

    def bare() -> None:
        for batch, labels in labelled:
            with trainer.compute.autocast:
                loss = model(
                    input_ids=batch.input_ids,
                    attention_mask=batch.attention_mask,
                    labels=labels,
                    use_cache=False,
                ).loss
            loss.backward()
        trainer.optimizer.step()
        trainer.optimizer.zero_grad(set_to_none=True)

    plain = median_seconds(bare, device, 5)
    tokens = sum(batch.tokens for batch in batches)
    done = operations(weights_in(model), tokens, recipe.adapter is not None)
    return {
        "seconds": ours,
        "bare": plain,
        "tokens": tokens,
        "operations a second": done / ours,
        "planned": planned.peak,
        "measured": peak,
    }


def main() -> None:
    """Measure and print: a table, then one line of JSON."""
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu (default: cuda)")
    parser.add_argument("--small", action="store_true", help="toy models, to try the command")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("no CUDA GPU here; --device cpu --small tries the command")
    device = resolve_device(options.device)[0]
    peak = matrix_peak(device, 256 if options.small else SIDE)
    room, name = memory_there(device)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(
        f"{name}, {room / 1e9:.1f} GB, torch {torch.__version__}; matrix peak {peak / 1e12:.3g} "
        "TFLOP/s in bfloat16"
    )
    table = Table(title="A step, of so many rows a task")
    columns = ("model", "recipe", "rows", "method", "s", "÷ bare", "of the peak")
    for column in (*columns, "GB planned", "GB measured"):
        table.add_column(column)
    found: dict[str, Any] = {"device": name, "matrix peak": peak, "steps": {}}
    for case in cases(options.small, device):
        free_memory()  # of the one before
        taken = measure(case, device)
        words = (case.model, case.recipe.name, case.read, case.method)
        found["steps"][", ".join(words)] = taken
        print(f"{', '.join(words)}: {json.dumps(taken)}", file=sys.stderr, flush=True)
        planned = f"{taken['planned'] / 1e9:.2f}"
        if "left out" in taken:
            table.add_row(*words, "does not fit", "", "", planned, "")
            continue
        table.add_row(
            *(*words, f"{taken['seconds']:.3f}", f"{taken['seconds'] / taken['bare']:.2f}"),
            f"{100 * taken['operations a second'] / peak:.1f} %",
            planned,
            "" if taken["measured"] is None else f"{taken['measured'] / 1e9:.2f}",
        )
    console.print(table)
    chosen = ["tracker=none", f"model.device={options.device}", *(QUICK if options.small else [])]
    for data in ("minitofu", *(["tofu_forget01"] if os.environ.get("UNLEARN_TOFU_PATH") else [])):
        started = time.perf_counter()
        command = [sys.executable, "-m", "unlearn", f"data={data}", *chosen]
        status = subprocess.run(command, check=False).returncode
        found[data] = {"status": status, "seconds": time.perf_counter() - started}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
