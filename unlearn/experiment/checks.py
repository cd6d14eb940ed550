"""The values of the configuration that have a range, each checked under its own name."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from unlearn.compute.device import resolve_device
from unlearn.models.load import check_path, weights_problem
from unlearn.options.parts import Problems
from unlearn.options.schema import EvaluationConfig, ModelConfig, TrainingConfig


def check_keys(node: Any, name: str, problems: Problems) -> None:
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
            check_keys(node._get_node(key), f"{name}.{key}", problems)


def check_seeds(cfg: DictConfig, problems: Problems) -> None:
    for name in ("seed", "model.tiny.seed", "model.fine_tuning.seed"):
        seed = OmegaConf.select(cfg, name)
        problems.require(0 <= seed < 2**63, f"{name}: {seed}; allowed: 0 up to 2^63 - 1")


def check_model(model: ModelConfig | None, problems: Problems) -> None:
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


def check_training(training: TrainingConfig | None, problems: Problems) -> None:
    if training is None:
        return
    for name in ("steps", "epochs", "batch_size", "micro_batch_size", "clip"):
        value = getattr(training, name)
        problems.require(
            value is None or 0 < value < math.inf, f"training.{name}: {value}; allowed: above 0"
        )
    problems.require(
        training.diagnose_every >= 0,
        f"training.diagnose_every: {training.diagnose_every}; allowed: 0 (never) or more steps",
    )
    problems.require(
        training.until_every >= 1,
        f"training.until_every: {training.until_every}; allowed: 1 or more steps",
    )
    slack = training.until_retain_slack
    problems.require(
        slack is None or 0 <= slack < math.inf,
        f"training.until_retain_slack: {slack}; allowed: 0 or more nats a token, or null",
    )
    problems.require(
        training.checkpoint_every >= 0,
        f"training.checkpoint_every: {training.checkpoint_every}; allowed: 0 (none) or more steps",
    )
    minutes = training.checkpoint_minutes
    problems.require(
        minutes is None or 0 < minutes < math.inf,
        f"training.checkpoint_minutes: {minutes}; allowed: above 0, or null",
    )


def check_evaluation(evaluation: EvaluationConfig | None, problems: Problems) -> None:
    if evaluation is None:
        return
    problems.require(
        evaluation.every >= 0,
        f"evaluation.every: {evaluation.every}; allowed: 0 (none) or more steps or epochs",
    )
    needs = "needs evaluation.every=STEPS, so that there is something to choose from"
    for name in ("best", "stop_when_accepted"):
        problems.require(
            evaluation.every > 0 or not getattr(evaluation, name),
            f"evaluation.{name}: {getattr(evaluation, name)}; {needs}",
        )
    problems.require(
        evaluation.patience is None or (evaluation.patience >= 1 and evaluation.best is not None),
        f"evaluation.patience: {evaluation.patience}; allowed: 1 or more evaluations, together "
        "with evaluation.best=METRIC",
    )
    problems.require(
        evaluation.mode is None or evaluation.best is not None,
        f"evaluation.mode: {evaluation.mode and evaluation.mode.name}; needs "
        "evaluation.best=METRIC, whose best value it tells",
    )
    for name in ("max_new_tokens", "generate_tokens", "score_tokens", "rows"):
        value = getattr(evaluation, name)
        problems.require(
            value is None or value > 0, f"evaluation.{name}: {value}; allowed: above 0"
        )
    problems.require(
        0 < evaluation.min_k <= 1,
        f"evaluation.min_k: {evaluation.min_k}; allowed: above 0 up to 1, a share of the tokens",
    )
