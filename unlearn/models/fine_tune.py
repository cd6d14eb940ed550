"""Teach a model the rows of a data set: the recipe of target and reference.

Of several processes each takes its share of every batch's rows: the batches, and but for rounding
the model, are those of one process.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from unlearn.compute.device import Compute
from unlearn.compute.memory import explaining_memory, less_memory
from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import gathered, is_main, of_rank_zero, rank, sum_, total, world
from unlearn.compute.sharding import is_sharded_model, load_optimizer, put_, whole
from unlearn.console.progress import progress
from unlearn.data.batches import batches_by_length, collate
from unlearn.data.tokens import Example
from unlearn.errors import NumericalError
from unlearn.forward.answers import answer_logits
from unlearn.forward.passes import Pass, run_within_memory
from unlearn.options.schema import FineTuningConfig
from unlearn.storage.sealed import damage_of, sealed_folder
from unlearn.storage.sharded import STATE, is_in_parts, read_state, read_weights, save_in_parts
from unlearn.storage.weights import save_state

log = logging.getLogger(__name__)

WINDOW = 50
"""Batches that are sorted by length together: nearly no padding, and still a fresh order a pass."""
KEEP_MINUTES = 2.0
"""Passes that take longer end with a state to go on from."""
LARGEST_NORM = 1.0
"""Gradient clipping of the recipe."""


@dataclass(frozen=True)
class Learned:
    """How well a model knows its rows."""

    accuracy: float
    """Share of answer tokens that are the argmax given the true prefix."""
    epochs: int
    steps: int


def epoch_batches(
    lengths: Sequence[int], batch_size: int, generator: random.Random
) -> list[list[int]]:
    """Return every row once, in shuffled batches of rows of similar length."""
    order = list(range(len(lengths)))
    generator.shuffle(order)
    window = batch_size * WINDOW
    batches = []
    for start in range(0, len(order), window):
        rows = sorted(order[start : start + window], key=lambda row: lengths[row])
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    generator.shuffle(batches)
    return batches


def rate(recipe: FineTuningConfig, step: int, steps: int) -> float:
    """Return the rate at `step`: a linear warm-up, then half a cosine down to a twentieth."""
    warm = max(1, int(recipe.warmup * steps))
    if step < warm:
        return recipe.lr * (step + 1) / warm
    progress_made = (step - warm) / max(1, steps - warm)
    return recipe.lr * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress_made)))


@torch.no_grad()
def answer_accuracy(model: LanguageModel, examples: Sequence[Example], compute: Compute) -> float:
    """Return the share of answer tokens that are the argmax given the true prefix."""
    hits: dict[tuple[int, ...], int] = {}

    def take(part: Pass) -> None:
        batch = collate([examples[row] for row in part.rows], part.rows).to(model.device)
        with compute.autocast:
            logits, labels, _ = answer_logits(model, batch)
        hits[tuple(part.rows)] = int((logits.argmax(-1) == labels).sum())

    batches = batches_by_length([len(e) for e in examples], tokens=8192)
    parts = compute.share([Pass(rows, []) for rows in batches])
    run_within_memory(parts, examples, take, "what the model knows of the rows")
    right = sum(hits.values())
    if compute.together:  # of a sharded model each process has made every pass
        right = sum(gathered(right)) if compute.split else gathered(right)[0]
    return right / sum(len(example.answer) for example in examples)


def make_optimizer(
    model: LanguageModel, lr: float, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """Return the recipe's AdamW over every parameter that trains."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay)


def learn_batch(
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    examples: Sequence[Example],
    micro: int,
    compute: Compute,
) -> tuple[int, int]:
    """Take one step down the token-mean NLL of `examples`, `micro` rows a forward pass.

    Returns how many answer tokens were the argmax before the step, and how many there are. Raises
    NumericalError where the gradient is not finite; the weights then have not moved. Processes that
    share the model are all to call it with the same rows, and all get the same.
    """
    hits, count = 0, sum(len(example.answer) for example in examples)
    for part, counts in _micro_batches(examples, micro, compute):
        batch = collate(part, range(len(part))).to(model.device)
        with compute.autocast:
            logits, labels, _ = answer_logits(model, batch)
            loss = F.cross_entropy(logits, labels, reduction="sum") / count
        (loss if counts else loss * 0.0).backward()
        hits += int((logits.detach().argmax(-1) == labels).sum()) if counts else 0
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if compute.split:
        gradient = sum_([parameter.grad for parameter in parameters], parameters)
        for parameter, of_all in zip(parameters, gradient, strict=True):
            parameter.grad = of_all
    # Of parts of a sharded gradient the norm is a part, too, until it is asked for whole.
    norm = whole(get_total_norm([p.grad for p in parameters if p.grad is not None]))
    clip_grads_with_norm_(parameters, LARGEST_NORM, norm)
    if not torch.isfinite(norm):
        raise NumericalError("the gradient is not finite")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total(hits)[0] if compute.together else hits, count


def _micro_batches(
    examples: Sequence[Example], micro: int, compute: Compute
) -> Iterator[tuple[Sequence[Example], bool]]:
    """Yield this process's rows of a batch, `micro` at a time, and whether they count.

    All processes pass through a sharded model equally often: one with fewer rows takes the shortest
    one for nothing.
    """
    processes = world() if compute.together else 1
    mine = examples[rank() :: processes] if compute.together else examples
    for start in range(0, len(mine), micro):
        yield mine[start : start + micro], True
    if compute.sharded:  # rank 0 has the most rows
        passes, most = (-(-len(rows) // micro) for rows in (mine, examples[::processes]))
        for _ in range(most - passes):
            yield [min(examples, key=len)], False


class Passes:
    """What a training that was cut goes on from: the state after its last pass, sealed.

    Any number of processes goes on from it. Of a sharded model each writes its part, else rank 0
    all of it.
    """

    def __init__(
        self,
        folder: Path | None,
        model: LanguageModel,
        optimizer: torch.optim.Optimizer,
        draw: random.Random,
    ) -> None:
        """`folder` is named by all that determines the training; None keeps nothing."""
        self.folder, self.model, self.optimizer, self.draw = folder, model, optimizer, draw
        self._kept = time.monotonic()

    def resume(self) -> tuple[int, int]:
        """Put model, optimizer and generator to where they were; returns passes and steps made."""
        if self.folder is None or not of_rank_zero(self._sound):
            return 0, 0
        state = read_state(self.folder, self.model)
        if is_in_parts(self.folder):
            read_weights(self.folder, self.model)
        else:
            for name, parameter in self.model.named_parameters():
                put_(parameter, state["weights"][name])
        load_optimizer(self.optimizer, state["optimizer"])
        version, numbers, gauss = state["draw"]
        self.draw.setstate((version, tuple(numbers), gauss))
        log.info("goes on after pass %d of an earlier attempt", state["passes"])
        return state["passes"], state["steps"]

    def keep(self, passes: int, steps: int) -> None:
        """Write the state if the last one is some minutes old; whole or not at all."""
        if self.folder is None or not of_rank_zero(self._due):
            return
        state = {
            "optimizer": self.optimizer.state_dict(),
            "draw": self.draw.getstate(),
            "passes": passes,
            "steps": steps,
        }
        if is_sharded_model(self.model):
            save_in_parts(self.folder, self.model, state)
        elif is_main():
            state = {"weights": dict(self.model.named_parameters()), **state}
            with sealed_folder(self.folder) as unfinished:
                save_state(state, unfinished / STATE)
        self._kept = time.monotonic()

    def _sound(self) -> bool:
        """Return whether there is a state, as it was written; say so where it is not."""
        if self.folder is None or not self.folder.exists():
            return False
        if damage := damage_of(self.folder):
            log.warning("%s is broken (%s); the learning begins anew", self.folder, damage)
            return False
        return True

    def _due(self) -> bool:
        return time.monotonic() - self._kept >= 60 * KEEP_MINUTES


def fine_tune(
    model: LanguageModel,
    examples: Sequence[Example],
    recipe: FineTuningConfig,
    compute: Compute,
    name: str,
    state: Path | None = None,
) -> Learned:
    """Train `model` on `examples` until it knows them, by the recipe; AdamW, token-mean NLL.

    `state` is a folder that a long training writes after its passes and goes on from, bit by bit.

    Stops after the pass over which the model predicted `recipe.accuracy` of all answer tokens, or
    after `recipe.epochs`. Raises NumericalError where the loss is not finite.
    """
    optimizer = make_optimizer(model, recipe.lr, recipe.weight_decay)
    generator = random.Random(recipe.seed)
    lengths = [len(example) for example in examples]
    steps = recipe.epochs * math.ceil(len(examples) / recipe.batch_size)
    micro = recipe.micro_batch_size or recipe.batch_size
    less = less_memory("model.fine_tuning", micro)
    passes = Passes(state, model, optimizer, generator)
    first, step = passes.resume()
    epoch = first
    with progress(f"learning the {name}", steps, step) as bar:
        for epoch in range(first + 1, recipe.epochs + 1):
            hits = tokens = 0
            for rows in epoch_batches(lengths, recipe.batch_size, generator):
                for group in optimizer.param_groups:
                    group["lr"] = rate(recipe, step, steps)
                batch = [examples[row] for row in rows]
                try:
                    with explaining_memory(f"learning the {name}, step {step + 1}", less):
                        right, count = learn_batch(model, optimizer, batch, micro, compute)
                except NumericalError as error:
                    raise NumericalError(
                        f"learning the {name}: {error} at step {step} "
                        f"(model.fine_tuning.lr={recipe.lr}); try a smaller rate"
                    ) from error
                hits += right
                tokens += count
                step += 1
                bar.advance(f"pass {epoch}, {hits / tokens:.1%} of answer tokens right")
            if hits / tokens >= recipe.accuracy:
                break
            passes.keep(epoch, step)
    return Learned(answer_accuracy(model, examples, compute), epoch, step)
