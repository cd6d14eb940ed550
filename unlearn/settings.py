"""From a composed configuration to the parts of a run, with every problem told at once.

A part is named by `_target_`. Where that is a dataclass (all of ours are) its fields are the typed
options; any other callable is called with the node's keys, as Hydra's `instantiate` does. Nothing
here loads a model.
"""

from __future__ import annotations

import dataclasses
import math
import os
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unlearn.acceptance import Condition
from unlearn.config import SCHEMAS, EvaluationConfig, ModelConfig, TrainingConfig
from unlearn.data.splits import Splits
from unlearn.errors import ConfigurationError
from unlearn.models.load import check_path, resolve_device, weights_problem
from unlearn.objectives import Objective
from unlearn.provenance import plain_container
from unlearn.schedulers import Gen, Scheduler
from unlearn.tracking import TrackerConfig
from unlearn.training import Method
from unlearn.weightings import Weighting


@dataclass(frozen=True)
class Settings:
    """Everything a run needs, validated."""

    seed: int
    read: Callable[[], Splits]
    subset: str | None
    model: ModelConfig
    method: Method | None
    """None where nothing is trained (method=none)."""
    scheduler: Scheduler
    optimizer: Callable[[Any], torch.optim.Optimizer]
    training: TrainingConfig
    evaluation: EvaluationConfig
    tracker: TrackerConfig
    reference: str
    conditions: list[Condition]
    strict: bool


class Problems:
    """Collects what is wrong, each with the name of its option."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        self.found.append(problem)

    def require(self, right: bool, problem: str) -> None:
        if not right:
            self.add(problem)

    def build(self, field: str, make: Callable[[Any], Any], node: Any) -> Any:
        """Return `make(node)`; note its failure under the name of the option and return None."""
        try:
            return make(node)
        except ConfigurationError as error:
            for problem in error.problems:
                if problem.startswith(f"{field.split('.')[0]}."):
                    self.add(problem)
                else:  # "warmup: 2" becomes "scheduler.warmup: 2"; a sentence comes after a colon
                    joint = "." if re.match(r"\w+: ", problem) else ": "
                    self.add(f"{field}{joint}{problem}")
        except OmegaConfBaseException as error:
            where = f"{field}.{error.full_key}" if error.full_key else field
            self.add(f"{where}: {_first_line(error.msg or error)}")
        except Exception as error:  # any: a user's own part may raise what it likes
            self.add(f"{field}: {_first_line(error.__cause__ or error)}")
        return None


def _first_line(error: object) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def build_part(node: Any) -> Any:
    """Return the part that `node` describes by `_target_` and options."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise ConfigurationError(
            "_target_: not set; choose one of the group, or name a class by _target_"
        )
    target = _locate(node._target_)
    if not dataclasses.is_dataclass(target):
        return instantiate(node)
    options = {str(key): value for key, value in node.items_ex(resolve=True) if key != "_target_"}
    allowed = [field.name for field in dataclasses.fields(target) if field.init]
    unknown = [
        f"{key}: no such option; allowed: {', '.join(allowed) or 'none'}"
        for key in options
        if key not in allowed
    ]
    if unknown:
        raise ConfigurationError(unknown)
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(target), options))


def part(kind: type) -> Callable[[Any], Any]:
    """Return a :func:`build_part` that refuses whatever is no `kind`."""

    def build(node: Any) -> Any:
        built = build_part(node)
        if not isinstance(built, kind):
            raise ConfigurationError(
                f"_target_: {node._target_!r} makes a {type(built).__name__}; "
                f"allowed: a subclass of {kind.__module__}.{kind.__qualname__}"
            )
        return built

    return build


def reader_of(node: Any) -> Any:
    """Return the reader that `node` describes."""
    built = build_part(node)
    if not callable(getattr(built, "read", None)):
        raise ConfigurationError(
            f"_target_: {node._target_!r} makes a {type(built).__name__}; "
            "allowed: a class with a method read() that returns unlearn.data.Splits"
        )
    return built


def _locate(name: Any) -> Any:
    """Return the class or function named `name`."""
    try:
        return pkgutil.resolve_name(name)
    except Exception as error:  # any: importing a user's module may fail as it likes
        raise ConfigurationError(
            f"_target_: {name!r} cannot be imported ({_first_line(error)}); give the full name of "
            "a class or function that Python finds from here"
        ) from error


def settings_of(cfg: DictConfig) -> Settings:
    """Return the validated settings; raises ConfigurationError with every problem found."""
    problems = Problems()
    model, training, evaluation, tracker = (
        problems.build(name, OmegaConf.to_object, cfg[name])
        for name in ("model", "training", "evaluation", "tracker")
    )
    reader = problems.build("data", reader_of, cfg.data)
    method = _method(cfg, problems)
    scheduler = problems.build("scheduler", part(Scheduler), cfg.scheduler)
    optimizer = problems.build("optimizer", _optimizer, cfg.optimizer)
    conditions = [
        problems.build(f"accept.conditions[{number}]", Condition.read, item)
        for number, item in enumerate(plain_container(cfg.accept)["conditions"])
    ]
    for name in SCHEMAS:
        _check_keys(cfg[name], name, problems)
    _check_seeds(cfg, problems)
    _check_model(model, problems)
    _check_training(training, problems)
    _check_evaluation(evaluation, problems)
    for number, condition in enumerate(conditions):
        problems.require(
            condition is None or condition.of != "reference" or cfg.reference != "none",
            f"accept.conditions[{number}].of: reference, but reference=none; "
            "give reference=train or the path of a retain-only model",
        )
    if cfg.reference not in ("auto", "train", "none"):
        for problem in check_path("reference", cfg.reference):
            problems.add(problem + " (allowed besides: auto, train, none)")
    if method and isinstance(scheduler, Gen) and scheduler.points == 1:
        problems.require(
            method.weighting.fixed is None,
            "scheduler.points: 1 takes its slope from the retain gradient, which a weighting with "
            "fixed weights never computes on its own; use scheduler.points=2",
        )
    world = os.environ.get("WORLD_SIZE", "1")
    problems.require(
        world == "1",
        f"torchrun: {world} processes; a run has one process so far, so start `unlearn` itself",
    )
    if problems.found:
        raise ConfigurationError(problems.found)
    return Settings(
        seed=cfg.seed,
        read=reader.read,
        subset=getattr(reader, "subset", None),
        model=model,
        method=method,
        scheduler=scheduler,
        optimizer=optimizer,
        training=training,
        evaluation=evaluation,
        tracker=tracker,
        reference=cfg.reference,
        conditions=conditions,
        strict=cfg.accept.strict,
    )


def _method(cfg: DictConfig, problems: Problems) -> Method | None:
    """Return the method, or None for method=none."""
    kinds = {"forget": Objective, "retain": Objective, "weighting": Weighting}
    if all(cfg.method[name] is None for name in kinds):
        return None
    built = {
        name: problems.build(f"method.{name}", part(kind), cfg.method[name])
        for name, kind in kinds.items()
    }
    if any(made is None for made in built.values()):
        return None
    names = (type(built[name]).__name__ for name in kinds)
    return Method(**built, name=" × ".join(names))


def _optimizer(node: DictConfig) -> Callable[[Any], torch.optim.Optimizer]:
    """Return the optimizer's maker, tried on a parameter so that a wrong option shows at once."""
    lr = node.get("lr")
    if isinstance(lr, bool) or not isinstance(lr, (int, float)) or not 0 < lr < math.inf:
        shown = "not set" if lr is None else lr
        raise ConfigurationError(f"optimizer.lr: {shown}; allowed: a number above 0")
    _locate(node.get("_target_"))
    maker = instantiate(node, _partial_=True)
    maker([torch.nn.Parameter(torch.zeros(1))])
    return maker


def _check_keys(node: Any, name: str, problems: Problems) -> None:
    """Note what `+group.option=value` added and nothing reads."""
    schema = OmegaConf.get_type(node) if isinstance(node, DictConfig) else None
    if schema is None or not dataclasses.is_dataclass(schema):
        return
    allowed = [field.name for field in dataclasses.fields(schema)]
    for key in map(str, node):
        problems.require(
            key in allowed, f"{name}.{key}: no such option; allowed: {', '.join(allowed)}"
        )
        if not OmegaConf.is_missing(node, key):
            _check_keys(node._get_node(key), f"{name}.{key}", problems)


def _check_seeds(cfg: DictConfig, problems: Problems) -> None:
    for name in ("seed", "model.tiny.seed", "model.fine_tuning.seed"):
        seed = OmegaConf.select(cfg, name)
        problems.require(0 <= seed < 2**63, f"{name}: {seed}; allowed: 0 up to 2^63 - 1")


def _check_model(model: ModelConfig | None, problems: Problems) -> None:
    if model is None:
        return
    if model.path is not None:
        for problem in check_path("model.path", model.path):
            problems.add(problem)
    if model.tokenizer is not None:
        for problem in check_path("model.tokenizer", model.tokenizer):
            problems.add(problem.replace("config.json", "tokenizer"))
    if reason := weights_problem(model):
        problems.add(reason)
    problems.require(
        model.max_length >= 8, f"model.max_length: {model.max_length}; allowed: 8 tokens or more"
    )
    tiny, recipe = model.tiny, model.fine_tuning
    for name in ("hidden_size", "layers", "heads", "intermediate_size"):
        value = getattr(tiny, name)
        problems.require(value >= 1, f"model.tiny.{name}: {value}; allowed: 1 or more")
    problems.require(
        tiny.vocabulary >= 300,
        f"model.tiny.vocabulary: {tiny.vocabulary}; allowed: 300 or more (256 are the bytes)",
    )
    problems.require(
        tiny.heads < 1 or tiny.hidden_size % (2 * tiny.heads) == 0,
        f"model.tiny.heads: {tiny.heads} heads do not divide model.tiny.hidden_size="
        f"{tiny.hidden_size} into heads of an even size",
    )
    for name in ("lr", "epochs", "batch_size", "micro_batch_size"):
        value = getattr(recipe, name)
        problems.require(
            value is None or 0 < value < math.inf,
            f"model.fine_tuning.{name}: {value}; allowed: above 0",
        )
    for name in ("accuracy", "floor"):
        value = getattr(recipe, name)
        problems.require(
            0 <= value <= 1, f"model.fine_tuning.{name}: {value}; allowed: 0 to 1, a share"
        )
    problems.require(
        0 <= recipe.warmup < 1,
        f"model.fine_tuning.warmup: {recipe.warmup}; allowed: 0 up to, not including, 1",
    )
    try:
        torch.empty(0, device=resolve_device(model.device)[0])
    except (RuntimeError, AssertionError) as error:
        problems.add(
            f"model.device: {model.device!r} cannot be used here "
            f"({str(error).splitlines()[0]}); allowed: auto, cpu, cuda, cuda:N, mps"
        )


def _check_training(training: TrainingConfig | None, problems: Problems) -> None:
    if training is None:
        return
    for name in ("steps", "epochs", "batch_size", "micro_batch_size", "clip"):
        value = getattr(training, name)
        problems.require(
            value is None or 0 < value < math.inf, f"training.{name}: {value}; allowed: above 0"
        )
    problems.require(
        training.checkpoint_every >= 0,
        f"training.checkpoint_every: {training.checkpoint_every}; allowed: 0 (none) or more steps",
    )


def _check_evaluation(evaluation: EvaluationConfig | None, problems: Problems) -> None:
    if evaluation is None:
        return
    problems.require(
        evaluation.every >= 0,
        f"evaluation.every: {evaluation.every}; allowed: 0 (none) or more steps",
    )
    for name in ("max_new_tokens", "generate_tokens", "score_tokens", "rows"):
        value = getattr(evaluation, name)
        problems.require(
            value is None or value > 0, f"evaluation.{name}: {value}; allowed: above 0"
        )
