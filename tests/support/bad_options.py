"""A generator of bad options: what each typed field of ours must not be, and what it may be.

It knows the types of the fields, and by hand which odd values mean something. It reads none of the
ranges that it tries.
"""

from __future__ import annotations

import dataclasses
import random
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from unlearn.attacks import Probing, Quantization, Relearning
from unlearn.data.minitofu import MiniTofu
from unlearn.data.own_files import Files
from unlearn.data.tofu import Tofu
from unlearn.objectives import NPO, RMU, BoundedAscent, SimNPO
from unlearn.options.schema import (
    AcceptConfig,
    Config,
    EvaluationConfig,
    FineTuningConfig,
    ModelConfig,
    TinyConfig,
    TrackerConfig,
    TrainingConfig,
)
from unlearn.schedulers import Constant, Gen
from unlearn.training.interventions import SAM, SaliencyMask
from unlearn.weightings import Linear, PrimalDual


@dataclass(frozen=True)
class Bad:
    """Overrides, and the option that a refusal is to name; None: they mean something."""

    words: tuple[str, ...]
    named: str | None

    @property
    def name(self) -> str:
        """What the test is called."""
        shown = " ".join(word if len(word) < 70 else f"{word[:60]}…" for word in self.words)
        return ascii(shown)[1:-1] + ("" if self.named else " (means something)")


NODES: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("", Config, ()),
    ("accept", AcceptConfig, ()),
    ("model", ModelConfig, ()),
    ("model.tiny", TinyConfig, ()),
    ("model.fine_tuning", FineTuningConfig, ()),
    ("training", TrainingConfig, ()),
    ("evaluation", EvaluationConfig, ()),
    ("tracker", TrackerConfig, ()),
    ("data", MiniTofu, ()),
    ("data", Files, ("data=files", "data.forget=f.jsonl", "data.retain=r.jsonl")),
    ("data", Tofu, ("data=tofu_forget05", "data.path=nowhere")),
    ("scheduler", Gen, ()),
    ("scheduler", Constant, ("scheduler=constant",)),
    ("method.weighting", Linear, ("method=linear",)),
    ("method.weighting", PrimalDual, ("method=primal_dual",)),
    ("method.forget", NPO, ("method=npo",)),
    ("method.forget", SimNPO, ("method=simnpo",)),
    ("method.forget", RMU, ("method=rmu",)),
    ("method.forget", BoundedAscent, ("method/forget=bounded_ascent",)),
    ("method.interventions.sam", SAM, ("method/interventions=[sam]",)),
    ("method.interventions.saliency_mask", SaliencyMask, ("method/interventions=[saliency_mask]",)),
    ("attack.relearning", Relearning, ("attack=[relearning]",)),
    ("attack.quantization", Quantization, ("attack=[quantization]",)),
    ("attack.probing", Probing, ("attack=[probing]",)),
)
"""Where a dataclass of ours stands in a configuration, and what puts it there."""

LONG = "x" * 5_000
ESCAPES = "'a\x1b[2J\x00\u202e'"
ANYWHERE = {  # whatever type a field has
    int: ("abc", "1.5", "[1]", "{a: 1}", "nan", "''", "'7 8'", "1" + 40 * "0", "1" + 400 * "0"),
    float: ("abc", "[1]", "{a: 1}", "nan", "inf", "-inf", "1e300", "1" + 400 * "0", "''"),
    bool: ("abc", "[true]", "{a: 1}", "''", "1.5"),
    Enum: ("nope", "7", "''", "[auto]", "{a: 1}", "'auto\u200b'", LONG),
    str: ("[a]", "{a: 1}", "${nowhere.at_all}", "${oc.env:NOT_SET_ANYWHERE}", "${unknown:x}"),
    list: ("7", "abc", "{a: 1}"),
    dict: ("7", "abc", "[1]"),
}
SIGNED = {"method.forget.delta", "method.weighting.bound"}
"""Numbers that may be below 0."""
ZERO = {
    *("evaluation.every", "training.checkpoint_every", "training.diagnose_every"),
    *("model.fine_tuning.warmup", "model.fine_tuning.accuracy", "model.fine_tuning.floor"),
    *("model.fine_tuning.weight_decay", "scheduler.smooth", "scheduler.signal"),
    *("scheduler.warmup", "method.weighting.retain_share", "method.weighting.slack"),
    "method.weighting.start",
    *SIGNED,
}
"""Numbers of which 0 means something; so it does of every seed."""
LEFT_OUT = {
    *("training.until_retain_slack", "evaluation.patience"),  # which need another option
    "evaluation.best",
}
TEXTS: dict[str, tuple[str, ...]] = {
    "model.path": ("''", "' '", LONG, ESCAPES, "${model.path}"),
    "model.base": ("''", LONG, "a/b"),
    "model.tokenizer": ("''", LONG, "a/b"),
    "model.revision": ("main", LONG),
    "model.gguf_file": ("x.gguf", LONG),
    "model.device": ("''", "gpu", "cpu:7", "cuda:-1", "cuda:99", "meta", LONG, ESCAPES),
    "model.chat_date": ("''", "today", "2024-13-40", LONG),
    "reference": ("''", "./nowhere", LONG, ESCAPES, "${reference}"),
    "attack_before": ("./nowhere", LONG),
    "tracker.project": ("''", "' '", "a/b", LONG, ESCAPES),
    "tracker.entity": ("''", LONG),
    "tracker.group": ("''", LONG),
    "data.subset": ("''", "forget99", LONG),
    "data.path": ("''", "./nowhere", LONG, ESCAPES),
    "data.forget": ("''", "nowhere.jsonl", "f.doc", f"{LONG}.jsonl", ESCAPES, "."),
    "data.retain": ("''", "f.jsonl", f"{LONG}.jsonl"),
    "data.question": ("nothing", "answer", LONG),
    "data.answer": ("nothing", "question"),
    "data.text": ("nothing", LONG),
    "data.messages": ("nothing", LONG),
    "data.encoding": ("nope", "''", LONG),
    "data.general": ("nowhere.jsonl", "f.jsonl"),
    "data.holdout": ("nowhere.jsonl", "r.jsonl"),
    "data.paraphrased_answer": ("nothing", "answer"),
    "data.perturbed_answer": ("nothing", "answer"),
    "data.paraphrased_question": ("nothing", "question"),
    "attack.quantization.method": ("nope", "''", LONG),
}
"""Texts that a field must not hold."""
OF_ANY_KIND: dict[str, tuple[str, ...]] = {
    "training.until": ("nope", "nan", "inf", "0", "-1", "[1]", "{a: 1}", "''", "1e300"),
    "method.forget.level": ("nope", "nan", "-1", "[1]", "null"),
    "evaluation.kpis": ("7", "abc", "[1]", "{a: 1}", "{a: {_target_: nowhere.at_all}}", "{a: {}}"),
    "data": ("7", "null", "nope", "[7]", "{}"),
    "scheduler": ("7", "null", "nope", "[[gen]]", "{}"),
    "optimizer": ("7", "null", "nope", "[7]", "{}"),
}


def words_of(field: str, kind: Any, optional: bool) -> Iterator[tuple[str, bool]]:
    """Yield values as a command writes them, and whether they mean something."""
    if field in OF_ANY_KIND:
        yield from ((value, False) for value in OF_ANY_KIND[field])
        return
    base = Enum if isinstance(kind, type) and issubclass(kind, Enum) else kind
    for value in ANYWHERE.get(base, ()):
        yield value, False
    if base in (int, float):
        seed = field.rpartition(".")[2] == "seed"
        yield "0", seed or field in ZERO
        yield "-1", field in SIGNED
        yield ("9223372036854775807", True) if seed else ("10000000000000", False)
        if seed:
            yield "9223372036854775808", False
    if base in (int, float, bool, Enum, list, dict):
        yield "null", optional
    if base is str:
        yield from ((value, False) for value in TEXTS.get(field, ()))


def fields_of(node: str, kind: Any) -> Iterator[tuple[str, Any, bool]]:
    """Yield the full name of each field that is no node itself, its type, and whether it may be
    null."""
    hints = typing.get_type_hints(kind)
    for declared in dataclasses.fields(kind):
        found = hints[declared.name]
        optional = isinstance(found, types.UnionType) and type(None) in typing.get_args(found)
        if optional:
            (found,) = (one for one in typing.get_args(found) if one is not type(None))
        field = f"{node}.{declared.name}".lstrip(".")
        if not dataclasses.is_dataclass(found) and field not in LEFT_OUT:
            yield field, typing.get_origin(found) or found, optional


def generated(each: int, seed: int = 0) -> list[Bad]:
    """Return so many values of each field, drawn by `seed`."""
    draw = random.Random(seed)
    found = []
    for node, kind, beside in NODES:
        for field, of, optional in fields_of(node, kind):
            values = list(words_of(field, of, optional))
            for value, good in draw.sample(values, min(each, len(values))):
                words = (*beside, f"{field}={value}")
                found.append(Bad(words, None if good else field))
    return found


if __name__ == "__main__":
    cases = generated(3)
    print(len(cases), sum(1 for case in cases if case.named))
