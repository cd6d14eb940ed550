"""How well does each metric tell models that saw the rows from models that did not?

    python -m benchmarks.meta_evaluation                 # 20 + 20 tiny models; prints the table
    python -m benchmarks.meta_evaluation --write         # and makes docs/results/meta_evaluation.md
    python -m benchmarks.meta_evaluation --models 2 data.forget_rows=8 data.retain_rows=16 …

Each seed makes a base of its own that learns all rows, and the same base that learns the retain
rows alone; both come from the cache where they are there, and so do their tables, so that a command
that was cut goes on. One more model without the rows is the reference of what needs one. `auc`: the
chance that a model without the rows is nearer to what the catalogue says is good than one with
them; 1 is a metric that never errs. `relearning` and `int8`: how far a metric of models *without*
the rows moves towards that of models with them when they are treated so, as a share of the distance
between the means; 0 is a metric that stays. The rows that are relearnt are not looked at. After the
meta-evaluation of OpenUnlearning (Dorna et al. 2025, arXiv 2506.12618), whose robustness is of
unlearned models. Intervals: 95 % percentile bootstrap over the models.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unlearn.attacks.rounding import linear_weights, round_to_nearest
from unlearn.composition.calls import composed
from unlearn.compute.device import compute_of
from unlearn.data.batches import SeededOrder
from unlearn.evaluation.kept import evaluate_once
from unlearn.evaluation.results import Evaluation
from unlearn.evaluation.suites import Suite
from unlearn.experiment.settings import settings_of
from unlearn.metrics.catalogue import Catalogue
from unlearn.models.fine_tune import learn_batch, make_optimizer
from unlearn.models.identity import key_of
from unlearn.models.load import load_tokenizer
from unlearn.models.prepare import Preparation
from unlearn.models.prepared import Prepared
from unlearn.options.schema import TargetChoice

PAGE = Path(__file__).parents[1] / "docs" / "results" / "meta_evaluation.md"
RESAMPLES = 2_000
STEPS, SHOWN, BATCH = 20, 8, 4
"""Of relearning: as the attack has it."""
Flat = Mapping[str, float | None]


@dataclass(frozen=True)
class Line:
    """What was found of one metric."""

    metric: str
    auc: tuple[float, float, float]
    """With the ends of its interval."""
    moved: dict[str, float]


@torch.no_grad()
def int8(model: Any) -> Any:
    """Return the model with its linear layers rounded to 8 bits."""
    for weight in linear_weights(model):
        weight.copy_(round_to_nearest(weight, 8))
    return model


class Pair:
    """The two models of a seed, with what they are measured by."""

    def __init__(self, words: Sequence[str], seed: int) -> None:
        told = [*words, f"model.tiny.seed={seed}", f"model.fine_tuning.seed={seed}"]
        settings = settings_of(composed(["tracker=none", "model.autocast=none", *told]), told)
        splits, self.config = settings.read(), settings.model
        compute = compute_of(settings.model, settings.evaluation)
        self.preparation = Preparation(settings.model, splits, compute)
        self.knowing = self.preparation.target(TargetChoice.auto)
        other = self.preparation.reference("train", None, self.knowing)
        assert other is not None, "reference=train makes one"
        self.stranger = other
        tokenizer = load_tokenizer(settings.model, self.knowing.folder)
        encoder = self.preparation.encoder(tokenizer, self.knowing.folder)
        draw = random.Random("meta_evaluation")
        shown = set(draw.sample(range(len(splits.forget)), min(SHOWN, len(splits.forget) // 2)))
        self.taught = [encoder.examples(splits.forget[row])[0] for row in sorted(shown)]
        rows = dict(splits.evaluated)
        rows["forget"] = [row for n, row in enumerate(splits.forget) if n not in shown]
        self.suite = Suite(
            *(rows, encoder, settings.evaluation, compute),
            *(splits.quizzes, splits.judged, splits.words),
        )

    def measured(
        self,
        name: str,
        prepared: Prepared,
        reference: Evaluation | None,
        change: Callable[[Any], Any] = lambda model: model,
    ) -> Evaluation:
        """Return what is measured of a model, from the cache where it is there.

        `name` says how the model was changed, and so is a part of the key.
        """
        key = f"{key_of(self.config, prepared)} {name} {STEPS} {SHOWN} {BATCH}"
        load = partial(self.preparation.load, prepared)
        return evaluate_once(self.suite, lambda: change(load()), key, name, reference)

    def relearnt(self, model: Any) -> Any:
        """Return the model after a few steps on some forget rows, as the attack takes them."""
        model.requires_grad_(True)
        optimizer = make_optimizer(model, self.config.fine_tuning.lr)
        order = SeededOrder(len(self.taught), BATCH, 0, "relearning")
        for step in range(STEPS):
            batch = [self.taught[row] for row in order.batch(step)]
            learn_batch(model, optimizer, batch, len(batch), self.suite.compute)
        return model.requires_grad_(False)


def measured(words: Sequence[str], models: int) -> tuple[Flat, dict[str, list[Flat]]]:
    """Return the metrics of the reference, and of every model: `with`, `without`, and attacked."""
    first = Pair(words, 0)
    reference = first.measured("as it is", first.stranger, None)
    found: dict[str, list[Flat]] = {name: [] for name in ("with", "without", "relearning", "int8")}
    for seed in range(1, models + 1):
        pair = Pair(words, seed)
        stages = {
            "with": pair.measured("as it is", pair.knowing, reference),
            "without": pair.measured("as it is", pair.stranger, reference),
            "relearning": pair.measured("relearnt", pair.stranger, reference, pair.relearnt),
            "int8": pair.measured("int8", pair.stranger, reference, int8),
        }
        for name, evaluation in stages.items():
            found[name].append(evaluation.metrics)
    return reference.metrics, found


def auc(worse: Sequence[float], better: Sequence[float]) -> float:
    """Return the chance that a number of `better` is below one of `worse`, ties counted half."""
    pairs = [(b < w) + 0.5 * (b == w) for b in better for w in worse]
    return sum(pairs) / len(pairs)


def interval(worse: Sequence[float], better: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of :func:`auc` over the models of each kind."""
    draw = np.random.default_rng(0)
    one, other = np.asarray(worse), np.asarray(better)
    found = [
        auc(draw.choice(one, len(one)), draw.choice(other, len(other))) for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def lines_of(reference: Flat, found: Mapping[str, Sequence[Flat]]) -> list[Line]:
    """Return what was found of each metric of forgetting that says which way is good.

    One that is null for a model is left out.
    """
    catalogue, lines = Catalogue(), []
    for name in sorted(found["with"][0]):
        metric = catalogue[name].beside(reference.get(name))
        values = {kind: [flat.get(name) for flat in flats] for kind, flats in found.items()}
        known = {kind: [x for x in row if x is not None] for kind, row in values.items()}
        whole = all(len(known[kind]) == len(row) for kind, row in values.items())
        of_forgetting = name.startswith(("forget", "mia_", "privleak"))
        if not (whole and of_forgetting) or metric.better in (None, "reference"):
            continue
        far, near = ([metric.distance(x) for x in known[kind]] for kind in ("with", "without"))
        start, end = float(np.mean(known["without"])), float(np.mean(known["with"]))
        moved = {
            kind: (float(np.mean(known[kind])) - start) / (end - start) if end != start else 0.0
            for kind in ("relearning", "int8")
        }
        lines.append(Line(name, (auc(far, near), *interval(far, near)), moved))
    return sorted(lines, key=lambda line: (-line.auc[0], line.metric))


def table_of(lines: Sequence[Line]) -> str:
    """Return the table as Markdown."""
    rows = [
        f"| `{one.metric}` | {one.auc[0]:.3f} | {one.auc[1]:.3f} to {one.auc[2]:.3f} | "
        f"{one.moved['relearning']:+.3f} | {one.moved['int8']:+.3f} |"
        for one in lines
    ]
    head = ["| metric | auc | 95 % | relearning | int8 |", "|---|---:|---:|---:|---:|"]
    return "\n".join([*head, *rows])


def page_of(lines: Sequence[Line], models: int, words: Sequence[str]) -> str:
    """Return the whole page."""
    assert __doc__ is not None
    told = " ".join(["python -m benchmarks.meta_evaluation", f"--models {models}", *words])
    meaning = __doc__.split("\n\n")[2].replace("\n", " ")
    return (
        "# How well each metric tells models that saw the rows\n\n"
        f"    {told} --write\n\n{models} + {models} tiny models of minitofu. {meaning}\n\n"
        f"{table_of(lines)}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.meta_evaluation")
    parser.add_argument("--models", type=int, default=20, help="of each kind; default 20")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("words", nargs="*", metavar="option=value", help="as `unlearn` takes them")
    options = parser.parse_args()
    if options.models < 2:
        parser.error(f"--models: {options.models}; allowed: 2 or more")
    lines = lines_of(*measured(options.words, options.models))
    print(table_of(lines))
    if options.write:
        PAGE.write_text(page_of(lines, options.models, options.words), encoding="utf-8")


if __name__ == "__main__":
    main()
