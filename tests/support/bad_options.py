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

from unlearn.attacks import (
    Depth,
    Noise,
    Probing,
    Prompts,
    Pruning,
    Quantization,
    Relearning,
    Sampling,
)
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
    ("attack.sampling", Sampling, ("attack=[sampling]",)),
    ("attack.prompts", Prompts, ("attack=[prompts]",)),
    ("attack.depth", Depth, ("attack=[depth]",)),
    ("attack.pruning", Pruning, ("attack=[pruning]",)),
    ("attack.noise", Noise, ("attack=[noise]",)),
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
    *("model.fine_tuning.weight_decay", "scheduler.smooth"),
    *("scheduler.warmup", "method.weighting.retain_share", "method.weighting.slack"),
    *("method.weighting.start", "method.weighting.fade", "method.forget.fade"),
    "attack.depth.threshold",
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
    "attack.relearning.source": ("nope", "''", LONG),
    "attack.relearning.file": ("nowhere.txt", LONG),
    "attack.prompts.affirmation": ("''", "' '"),
    "attack.prompts.instruction": ("''", "' '"),
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


OWN = ("data=files", "data.forget=f.jsonl", "data.retain=r.jsonl")
NONE = "[{metric: forget/loss, at_least: 1}]"
WHOLE: dict[str, tuple[str, ...]] = {
    # What nothing reads.
    "a: no such option": ("+a=1",),
    "method.a: no such option": ("+method.a=1",),
    "training.x: no such option": ("+training.x.y=1",),
    "accept.a: no such option": ("+accept.a=1",),
    "model.tiny.z: no such option": ("+model.tiny.z=1",),
    "data.x: no such option": (*OWN, "+data.x=1"),
    "'lr2'": ("+optimizer.lr2=1",),
    "method={}: an empty mapping": ("method={}",),
    "training={}: an empty mapping": ("training={}",),
    "accept={}: an empty mapping": ("accept={}",),
    "the tiny model has no revisions": ("model.revision=main",),
    "the folder './m' has no revisions": ("model.path=./m", "model.revision=main"),
    "is no LoRA folder": ("model.path=./m", "model.base=./m"),
    "model.tokenizer: './m' is of a model": ("model.tokenizer=./m",),
    "accept.strict: true, but": ("accept.strict=true",),
    "evaluation.mode: max": ("evaluation.mode=max",),
    "evaluation.patience: 3": ("evaluation.patience=3",),
    "evaluation.best: forget/loss": ("evaluation.best=forget/loss",),
    "until_retain_slack: needs": ("training.until_retain_slack=0.1",),
    "interventions: sam, but method=none": ("method=none", "method/interventions=[sam]"),
    "attack_before: './m' is for method=none": ("attack_before=./m",),
    "no attack is chosen": ("method=none", "attack_before=./m"),
    # Numbers of libraries.
    "optimizer.eps: 0": ("optimizer.eps=0",),
    "optimizer.eps: nan": ("optimizer.eps=nan",),
    "optimizer.eps: True": ("optimizer.eps=true",),
    "optimizer.weight_decay: nan": ("optimizer.weight_decay=nan",),
    "optimizer.weight_decay: -1": ("optimizer.weight_decay=-1",),
    "beta parameter at index 0": ("optimizer.betas=[nan,0.9]",),
    "optimizer: list index": ("optimizer.betas=[]",),
    "optimizer.lr: 1e+30": ("optimizer.lr=1e30",),
    "optimizer.lr: True": ("optimizer.lr=true",),
    "optimizer.lr: '0.1'": ("optimizer.lr='0.1'",),
    "optimizer.momentum: nan": ("optimizer=sgd", "optimizer.momentum=nan"),
    "optimizer.momentum: 5": ("optimizer=sgd", "optimizer.momentum=5"),
    "dampening: nan": ("optimizer=sgd", "+optimizer.dampening=nan"),
    # Names of parts.
    "optimizer: posix.getcwd()": ("optimizer._target_=os.getcwd",),
    "scheduler._target_: 5": ("scheduler._target_=5",),
    "makes a dict": ("data._target_=builtins.dict",),
    "makes a NGDiff": ("method.forget._target_=unlearn.weightings.NGDiff",),
    "attack.x._target_: not set": ("+attack.x=5",),
    "'a-b' is no name for metrics": ("+attack.a-b={_target_: unlearn.attacks.Probing}",),
    "'os.getcwd' cannot be called": ("evaluation.kpis={a: {_target_: os.getcwd}}",),
    "evaluation.kpis[0]._target_: not set": ("evaluation.kpis=[5]",),
    "attack.quantization.bits: empty": ("attack=[quantization]", "attack.quantization.bits=[]"),
    "attack.relearning.rows: 1000000": ("attack=[relearning]", "attack.relearning.rows=1000000"),
    "method.forget.layer: 99": ("method=rmu", "method.forget.layer=99"),
    "'answer' is the column of the question as well": (
        *("method=dpo", "method.forget.alternatives=f.jsonl", "method.forget.question=answer"),
    ),
    # Hydra's own.
    "attack=[7]": ("attack=[7]",),
    "method=7": ("method=7",),
    "=5": ("=5",),
    "seed=abc": ("seed=1", "seed=abc"),
    "training.steps: Recursive": (
        *("training.steps=${training.epochs}", "training.epochs=${training.steps}"),
    ),
    "'training.steps=\"${\"'": ("training.steps=${",),
    "data: not set": ("~data",),
    "'training.steps' does not exist": ("~training.steps",),
    "--config-name": ("--config-name=nope",),
    "--config-path": ("--config-path=nowhere",),
    "config directory": ("--config-dir=nowhere",),
    "experiment=nope": ("experiment=nope",),
    "for a sweep (-m)": ("method=ngdiff,graddiff",),
    # Verdicts and objectives.
    "at_least: nan": ("accept.conditions=[{metric: forget/loss, at_least: nan}]",),
    "at_least: inf": ("accept.conditions=[{metric: forget/loss, at_least: 1e400}]",),
    "within: [2, 1]": ("accept.conditions=[{metric: forget/loss, within: [2, 1]}]",),
    "metric: 'nope' is not measured": ("accept.conditions=[{metric: nope, at_least: 1}]",),
    "conditions[0]: None": ("accept.conditions=[null]",),
    "objective: nope is not measured": ("objective=[nope]",),
    "objective: []": ("objective=[]",),
    # Rows.
    "'answer' is named as the question": (*OWN, "data.question=answer"),
    "name one column": (*OWN, "data.question=question", "data.answer=question"),
    "answer=answer and data.paraphrased_answer=answer": (
        *(*OWN, "data.answer=answer", "data.paraphrased_answer=answer"),
    ),
    "stand in both the forget and the retain": (*OWN[:2], "data.retain=f.jsonl"),
    "the key 'answer' stands twice": (*OWN, "data.forget=twice.jsonl"),
    "array.json: the key 'answer' stands twice": (*OWN, "data.forget=array.json"),
    "the key 'data' stands twice": (*OWN, "data.forget=wrapped.json"),
    "zero.jsonl:1: 'answer' is blank": (*OWN, "data.forget=zero.jsonl"),
    "/dev/zero: no such file": (*OWN, "data.forget=/dev/zero"),
    "data.forget: 'f.jsonl\\x00'": (*OWN, "data.forget='f.jsonl\x00'"),
    "255 bytes": (*OWN, f"data.forget={'y' * 300}.jsonl"),
    "data.encoding='base64'": (*OWN, "data.encoding=base64"),
    "data.forget_rows=3": (*OWN, "data.forget_rows=3"),
    # Folders.
    "hydra.run.dir: ": ("hydra.run.dir=''",),
    "hydra.run.dir or": ("hydra.run.dir=f.jsonl/run",),
}
"""What the one line says → the words of a command."""

UNREAD: dict[str, tuple[str, ...]] = {
    "model.tiny.layers (model.path names": ("model.path=./m", "model.tiny.layers=2"),
    "model.fine_tuning.epochs (nothing is taught": (
        *("model.path=./m", "target=as_is", "model.fine_tuning.epochs=3"),
    ),
    "optimizer.lr, scheduler, training.steps (method=none": (
        *("method=none", "training.steps=5", "scheduler=cosine", "optimizer.lr=0.1"),
    ),
    "evaluation.every (method=none": ("method=none", "evaluation.every=5"),
    "evaluation.unit (evaluation.every=0": ("evaluation.unit=epochs",),
    "training.until_every (training.until": ("training.until_every=5",),
    "training.epochs (training.steps": ("training.steps=5", "training.epochs=2"),
    "method.retain_share (its weighting": ("method.retain_share=0.7",),
    "training.diagnose_every (its weighting": ("training.diagnose_every=5",),
    "model.system_prompt (the plain template": ("model.system_prompt=Hello",),
    "evaluation.stemmer (these data": ("evaluation.stemmer=true",),
    "evaluation.gradient_norm (these data": (*OWN, "evaluation.gradient_norm=true"),
    "tracker.project (tracker=none": ("tracker=none", "tracker.project=mine"),
    "model.published_reference (reference=none": (
        *("reference=none", "model.published_reference={forget10: a/b}"),
    ),
}
"""What the one warning says → the words of a command that goes on."""

MEANT: tuple[tuple[str, ...], ...] = (
    ("+size=64", "model.tiny.hidden_size=${size}"),
    ("training.steps=5", "training.epochs=null"),
    ("method=linear", "method.retain_share=0.7", "training.diagnose_every=5"),
    ("model.path=./m", "target=train", "model.fine_tuning.epochs=3"),
    ("model.path=./m", "target=as_is", "attack=[relearning]", "model.fine_tuning.lr=1e-4"),
    ("evaluation.every=5", "evaluation.unit=epochs"),
    ("evaluation.min_k=0.2",),
    (f"accept.conditions={NONE}", "accept.strict=true"),
    ("optimizer._target_=torch.optim.Adafactor", "~optimizer.betas", "optimizer.eps=[null,1e-3]"),
    ("model.chat_options={}", "evaluation.kpis={}", "attack=[]"),
    ("model.path=a/b", "model.revision=main"),
)
"""Commands of which every word is read: neither refused nor warned of."""

COMPARE: dict[str, tuple[str, ...]] = {
    "required: runs": (),
    "no such folder: nowhere": ("nowhere",),
    "no such folder: f.jsonl": ("f.jsonl",),
    "no such folder: xxx": (LONG,),
    "no such folder: ;": ("",),
    "no such folder: [": ("[",),
    "no run in m": ("m",),
    "no group fits 'nope'": ("run", "--baseline", "nope"),
    "--baseline: ''": ("run", "--baseline", ""),
    "--out: 'f.jsonl' is a file": ("run", "--out", "f.jsonl"),
    "--csv: 'nowhere/x.csv'": ("run", "--csv", "nowhere/x.csv"),
    "--csv: 'm' is a folder": ("run", "--csv", "m"),
    "--csv: '.'": ("run", "--csv", ""),
    "--markdown: 'm' is a folder": ("run", "--markdown", "m"),
    "--markdown: 'nowhere/p.md'": ("run", "--markdown", "nowhere/p.md"),
    "--markdown: f.jsonl": ("run", "--markdown", "f.jsonl"),
    "arguments: --nope": ("run", "--nope"),
    "expected one argument": ("run", "--out"),
}
EVALUATE: dict[str, tuple[str, ...]] = {
    "required: RUN": (),
    "no run: name": ("evaluation.rows=2",),
    "training.steps=5: the run's": ("run", "training.steps=5"),
    "seed=1: the run's": ("run", "seed=1"),
    "model.path=x: the run's": ("run", "model.path=x"),
    "hydra.run.dir=x: the run's": ("run", "hydra.run.dir=x"),
    "+a=1: the run's": ("run", "+a=1"),
    "=: the run's": ("run", "="),
    "rows=abc: Value": ("run", "evaluation.rows=abc"),
    "evaluation.rows: 0": ("run", "evaluation.rows=0"),
    "evaluation.rows: 1000": ("run", "evaluation.rows=100000000000000000000000"),
    "max_new_tokens: 1000000000": ("run", "evaluation.max_new_tokens=1000000000"),
    "evaluation.min_k: int too": ("run", f"evaluation.min_k=1{400 * '0'}"),
    "evaluation={}: an empty": ("run", "evaluation={}"),
    "evaluation.kpis: 5": ("run", "evaluation.kpis=5"),
    "model.device: 'cpu:7'": ("run", "model.device=cpu:7"),
    "model.max_length: 1": ("run", "model.max_length=1"),
    "model.template=xxx": ("run", f"model.template={LONG}"),
    "--name: '../x'": ("run", "--name", "../x"),
    "--name: 'before'": ("run", "--name", "before"),
    "--name: ''": ("run", "--name", ""),
    "--name: 'xxx": ("run", "--name", LONG),
    "--config-dir: no such": ("run", "--config-dir", "nowhere"),
    "1,2: a sweep": ("run", "evaluation.rows=1,2"),
    "not a value in Hydra's grammar": ("run", "evaluation.rows='"),
    "data=nope: no such choice": ("run", "data=nope"),
    "data=5": ("run", "data=5"),
    "attack=[5]": ("run", "attack=[5]"),
    "reference: './nowhere'": ("run", "reference=./nowhere"),
    "accept.strict: true": ("run", "accept.strict=true"),
    "nowhere: no such folder": ("nowhere",),
    "m: no summary.json": ("m",),
    "…": (LONG,),
    "arguments: --nope": ("run", "--nope"),
}
CLEAN: dict[str, tuple[str, ...]] = {
    "required: RUN": (),
    "no such folder: nowhere": ("nowhere",),
    "no such folder: f.jsonl": ("run", "f.jsonl"),
    "no such folder: ;": ("",),
    "no such folder: xxx": (LONG,),
    "m is no folder of a run": ("run", "m"),
    "arguments: --nope": ("--nope", "run"),
}
"""What each of the commands says → its words."""
