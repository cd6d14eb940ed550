"""What a step of each method costs: layers of the model that it runs, and time, in units of F.

F is one forward pass of one batch without gradient; a backward pass counts 2F. *Ideal* is what the
method needs by its mathematics: 3F a task that is trained through the whole model, F for every pass
through a second model, and of rmu only the layers up to the one that it moves.

    make bench                              # prints it below the other tables
"""

from __future__ import annotations

import json
import statistics
import tempfile
from dataclasses import replace
from functools import cache, partial
from importlib import resources as package_files
from pathlib import Path

import torch
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from rich.table import Table
from torch.optim import AdamW

from benchmarks.calls import Calls, counted_calls, mark_layers
from benchmarks.loops import Bench, Shape, build_model, plan_of
from unlearn.composition.register import register
from unlearn.compute.device import Compute
from unlearn.data.batches import PairedBatches
from unlearn.data.minitofu import MiniTofu
from unlearn.data.splits import Splits
from unlearn.data.tokens import Encoder
from unlearn.errors import ConfigurationError
from unlearn.experiment.settings import method_of
from unlearn.forward.packing import compare_rows
from unlearn.models.prepared import spelled_rows, texts
from unlearn.models.tiny import tiny_tokenizer
from unlearn.objectives import NegativeLogLikelihood
from unlearn.options.parts import Problems
from unlearn.schedulers import Constant, Gen, Scheduler
from unlearn.training.method import Method
from unlearn.training.resources import RunResources
from unlearn.training.tasks import Task, task_loss
from unlearn.training.trainer import Trainer

RATE = 1e-6
"""Learning rate: small, so that every method stays finite on a random model."""
NOTHING_TRAINED = "none"
ALTERNATIVES = ("alternatives", "dpo")
"""Methods that need a file of alternative answers."""
INTERVENTIONS = {"gru": 0, "sam": 3, "saliency_mask": 0, "sago": 0, "task_vector": 0, "undo": 0}
"""What each adds to a step, in F."""


def method_names() -> list[str]:
    """Return every choice of `method=` that trains, sorted."""
    folder = package_files.files("unlearn.conf") / "method"
    names = [Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    return sorted(name for name in names if name != NOTHING_TRAINED)


def build_method(name: str, alternatives: Path, *overrides: str) -> Method:
    """Return the method of this name as the command line would build it."""
    given = [f"method={name}", *overrides]
    if name in ALTERNATIVES:
        given.append(f"method.forget.alternatives={alternatives}")
    problems = Problems()
    method = method_of(_composed(*given), problems)
    if method is None:
        raise ConfigurationError(problems.found)
    return method


@cache
def _composed(*overrides: str) -> DictConfig:
    register()
    GlobalHydra.instance().clear()
    with initialize_config_module("unlearn.conf", version_base="1.3"):
        return compose("config", overrides=list(overrides))


def write_alternatives(splits: Splits, path: Path) -> Path:
    """Write other answers to the forget questions: the first wrong one of each."""
    rows = [{"question": row.question, "answer": row.perturbed_answers[0]} for row in splits.forget]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class Workbench:
    """A random model on the embedded data, where every method can take steps."""

    def __init__(self, shape: Shape, device: torch.device, folder: Path) -> None:
        splits = MiniTofu(subset="forget10").read()
        self.splits = replace(splits, forget=splits.forget[:16], retain=splits.retain[:16])
        words = (text for pair in texts(spelled_rows(self.splits)) for text in pair)
        self.encoder = Encoder(tiny_tokenizer(words, min(shape.vocabulary, 1024)))
        self.model = build_model(shape).to(device)
        mark_layers(self.model)
        self.rows = shape.rows
        compare_rows(self.model)  # which it does once: now
        self.compute = Compute(device, bfloat16=device.type == "cuda")
        self.alternatives = write_alternatives(self.splits, folder / "alternatives.jsonl")

    def trainer(self, method: Method, scheduler: Scheduler) -> Trainer:
        """Return the method, prepared, at its first step."""
        run = RunResources(
            self.model,
            self.splits,
            self.encoder,
            self.compute,
            target_sha256=None,
            load_reference=lambda: self.model,
        )
        forget, retain = run.of_task(self.splits.forget), run.of_task(self.splits.retain)
        method.forget.check_rows(self.splits.forget)
        method.forget.prepare(forget, method.retain)
        method.retain.prepare(retain, method.forget)
        batches = PairedBatches(forget.examples, retain.examples, self.rows, None, seed=0)
        plan = plan_of(method, scheduler, partial(AdamW, lr=RATE))
        reads = scheduler.reads_target or method.weighting.reads_target
        start = retain.target_sums(retain.examples) if reads else None
        return Trainer(self.model, plan, batches, self.compute, start=start)

    def counted(self, trainer: Trainer, steps: int = 1) -> Calls:
        """Return what one step runs, in F, the mean over `steps` steps."""
        with counted_calls(self.rows) as calls:
            for _ in range(steps):
                trainer.step()
        return Calls(calls.forward / steps, calls.backward / steps)

    def forward_seconds(self, bench: Bench, trainer: Trainer) -> float:
        """Return the time of F: the loss of one retain batch, without gradient."""
        batches = [batch.to(self.model.device) for batch in trainer.batches.step(0)[1]]
        task = Task(NegativeLogLikelihood(), batches)
        return bench.seconds(lambda: task_loss(self.model, task, self.compute).item())


def ideal(name: str, method: Method, depth: int) -> float:
    """Return what a step of the method must cost by its mathematics, in F."""
    trained = 3.0  # forward and backward of one task
    if name in ("ga", "gd"):
        return trained
    if name in ("undial", "undo"):  # one task, and the reference logits of its rows
        return trained + 1
    if name in ("dpo", "idk_dpo", "idk_ap"):  # two answers to each question of one task
        return 3 * trained
    if name == "flat":  # two answers to each forget question, and no retain task
        return 2 * trained
    if name in (
        "graddiff_kl",
        "ngdiff_guarded",
        "jensun",
    ):  # the target's logits of one task's rows
        return 2 * trained + 1
    if name == "rmu":  # up to its layer: two tasks, and the reference of the retain rows
        layer = method.forget.layer
        assert layer is not None
        return (2 * trained + 1) * layer / depth
    return trained if method.single is not None else 2 * trained


def measure_methods(shape: Shape, device: torch.device, repeats: int) -> Table:
    """Return the table of all methods, counted and timed."""
    table = Table(title="a step of each method, in forward passes F of one batch")
    for column in ("method", "counted", "ideal", "time", "seconds"):
        table.add_column(column, justify="left" if column == "method" else "right", no_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Workbench(shape, device, Path(folder))
        bench = Bench(replace(shape, layers=1), device)  # for its clock
        depth = work.model.config.num_hidden_layers
        for name in method_names():
            method = build_method(name, work.alternatives)
            trainer = work.trainer(method, Constant())
            trainer.step()  # makes the optimizer's state
            counted = work.counted(trainer).total
            pairs = [
                (bench.seconds(trainer.step), work.forward_seconds(bench, trainer))
                for _ in range(repeats)
            ]
            ratio = statistics.median(step / forward for step, forward in pairs)
            seconds = statistics.median(step for step, _ in pairs)
            cost = ideal(name, method, depth)
            table.add_row(name, f"{counted:.2f}", f"{cost:.2f}", f"{ratio:.1f}", f"{seconds:#.3g}")
        for name, more in INTERVENTIONS.items():
            chosen = f"method/interventions=[{name}]"
            trainer = work.trainer(build_method("ngdiff", work.alternatives, chosen), Constant())
            counted = work.counted(trainer).total
            table.add_row(f"ngdiff, {name}", f"{counted:.2f}", f"{6 + more:.2f}", "", "")
        counted = work.counted(probed(work), steps=10).total
        table.add_row("ngdiff, gen", f"{counted:.2f}", f"{6 + 2 / 10:.2f}", "", "")
    return table


def probed(work: Workbench) -> Trainer:
    """Return NGDiff with `gen`, past the search and the probed first steps."""
    trainer = work.trainer(build_method("ngdiff", work.alternatives), Gen())
    trainer.done = 9
    trainer.step()  # makes the optimizer's state
    return trainer
