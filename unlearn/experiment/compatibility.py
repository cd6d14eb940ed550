"""Which parts of a method do not go together, told before any model loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from unlearn.attacks import Attack, check_attacks, metric_names
from unlearn.data.splits import Splits
from unlearn.errors import ConfigurationError, DataError
from unlearn.evaluation.acceptance import Condition, condition_problems
from unlearn.evaluation.measures import PREFIX
from unlearn.evaluation.names import OF_REFERENCE, measurable
from unlearn.models.load import check_path
from unlearn.objectives import RMU, BoundedAscent, HiddenState
from unlearn.objectives.levels import level_of
from unlearn.options.parts import Problems
from unlearn.options.schema import EvaluationConfig, ModelConfig, TrainingConfig
from unlearn.schedulers import Gen, Scheduler
from unlearn.training.method import Method


def check_method(
    method: Method,
    model: ModelConfig | None,
    scheduler: Scheduler | None,
    reference: str,
    problems: Problems,
) -> None:
    """Note every pair of parts that cannot work together."""
    forget, retain, weighting = method.forget, method.retain, method.weighting
    problems.require(
        forget.trains or retain.trains,
        "method: forget and retain are both left out; method=none evaluates without training",
    )
    for name, intervention in method.interventions.items():
        for problem in intervention.problems_beside(method):
            problems.add(f"method.interventions.{name}: {problem}")
    if isinstance(scheduler, Gen) and scheduler.points == 1:
        problems.require(
            weighting.fixed is None or method.single is not None,
            "scheduler.points: 1 takes its slope from the retain gradient, which a weighting with "
            "fixed weights never computes on its own; use scheduler.points=2",
        )
        alone = method.single is forget and forget.moving_target
        problems.require(
            not (retain.zero_at_target or alone),
            "scheduler.points: 1 takes its slope from the gradient of the loss that it probes, and "
            f"beside {type(forget if alone else retain).__name__} it is the retain rows' NLL; use "
            "scheduler.points=2",
        )
    if weighting.needs_positive_losses:
        for task, objective in (("forget", forget), ("retain", retain)):
            problems.require(
                objective.positive,
                f"method.weighting: {type(weighting).__name__} needs losses that are never "
                f"negative, and method.{task}={type(objective).__name__} is; allowed with it: npo, "
                "simnpo, idk and other losses with a floor at zero",
            )
    vanishing = [
        f"method.{task}={type(objective).__name__}"
        for task, objective in (("forget", forget), ("retain", retain))
        if objective.trains and (objective.zero_at_target or isinstance(objective, BoundedAscent))
    ]
    problems.require(
        not (weighting.stops_at_zero and vanishing),
        f"method.weighting: {type(weighting).__name__} does not move where one gradient is zero, "
        f"as that of {' and '.join(vanishing)} is at the start or at the end; allowed with it: "
        "ngdiff, imtl_g, pcgrad, linear",
    )
    if isinstance(retain, HiddenState):
        problems.require(
            isinstance(forget, RMU) or forget.layer is not None,
            f"method.retain: hidden_state keeps the hidden layer that rmu moves, and method.forget "
            f"is {type(forget).__name__}; use method/forget=rmu, or method/retain=kl",
        )
    check_level("method.forget.level", forget.needs_level, reference, problems)
    if forget.layer is not None and (depth := _depth(model)) is not None:
        problems.require(
            forget.layer <= depth,
            f"method.forget.layer: {forget.layer}; allowed: 1 to {depth}, the layers of this model",
        )


def check_until(training: TrainingConfig | None, reference: str, problems: Problems) -> None:
    """Note a stop rule that cannot be followed."""
    if training is not None and training.until is not None:
        level = problems.build("training.until", level_of, training.until)
        if isinstance(level, str):
            check_level("training.until", level, reference, problems)
    elif training is not None:
        problems.require(
            training.until_retain_slack is None,
            "training.until_retain_slack: needs training.until, the level that ends a run",
        )


def check_level(field: str, level: str | None, reference: str, problems: Problems) -> None:
    """Note a level that no model of this run can give."""
    problems.require(
        level != "reference" or reference != "none",
        f"{field}: reference, but reference=none; give reference=train, the path of a retain-only "
        f"model, or {field}=holdout",
    )


def check_attack_options(
    cfg: DictConfig,
    attacks: Mapping[str, Attack],
    conditions: Sequence[Condition | None],
    problems: Problems,
) -> None:
    """Note a model before unlearning that nothing reads, and conditions that nothing answers."""
    if cfg.attack_before is not None:
        field = f"attack_before: {cfg.attack_before!r}"
        trains = any(cfg.method[part] is not None for part in ("forget", "retain", "weighting"))
        problems.require(not trains, f"{field} is for method=none; here it is the run's own target")
        problems.require(bool(cfg.attack), f"{field}, but no attack is chosen; give attack=[...]")
        for problem in check_path("attack_before", cfg.attack_before):
            problems.add(problem)
    measured = metric_names({name: attack for name, attack in attacks.items() if attack})
    for number, condition in enumerate(conditions):
        if condition is None or not condition.metric.startswith("attack/"):
            continue
        field = f"accept.conditions[{number}]"
        problems.require(
            condition.metric in measured or None in attacks.values(),
            f"{field}.metric: {condition.metric!r} is not measured here; measured of attacks: "
            + (", ".join(measured) or "nothing, as none is chosen (attack=[...])"),
        )
        problems.require(
            condition.of != "before",
            f"{field}.of: before, but the model before unlearning is not attacked; allowed here: "
            "reference, or left out",
        )


def check_rows(
    method: Method | None,
    until: str | float | None,
    splits: Splits,
    attacks: Mapping[str, Attack] | None = None,
    scored: int | None = None,
) -> None:
    """Raise DataError where rows do not offer what method, stop rule or attacks need.

    `scored` is the option evaluation.rows: most rows of a split that attacks get to see.
    """
    problems = check_attacks(attacks or {}, splits.evaluated.get("forget", [])[:scored])
    needed = {"training.until": until}
    if method is not None:
        needed["method.forget.level"] = method.forget.needs_level
        for objective, rows in ((method.forget, splits.forget), (method.retain, splits.retain)):
            try:
                objective.check_rows(rows)
            except DataError as error:
                problems += error.problems
    for field, level in needed.items():
        if level == "holdout" and not splits.evaluated.get("holdout"):
            problems.append(
                f"{field}: holdout, but the data ({splits.name}) has no holdout rows; allowed "
                "here: reference, or a number in nats a token"
            )
    if problems:
        raise DataError(problems)


def check_conditions(
    conditions: Sequence[Condition],
    splits: Splits,
    evaluation: EvaluationConfig,
    reference: str,
) -> None:
    """Raise ConfigurationError for conditions on metrics that these data will not give."""
    there = reference != "none"
    names = measurable(splits, evaluation, there)
    # Only a measure knows what it will return; conditions on attacks are checked with the options.
    later = [PREFIX, "attack/"] if evaluation.kpis else ["attack/"]
    problems = condition_problems(conditions, names, OF_REFERENCE, there, later)
    if problems:
        raise ConfigurationError(problems)


def _depth(model: ModelConfig | None) -> int | None:
    """Return the number of layers, from the model's configuration alone; None without one."""
    if model is None:
        return None
    if model.path is None:
        return model.tiny.layers
    from transformers import AutoConfig

    folder = Path(model.path).expanduser()
    try:
        config = AutoConfig.from_pretrained(
            str(folder) if folder.is_dir() else model.path, revision=model.revision
        )
    except (OSError, ValueError):
        return None  # a GGUF file, or a hub that does not answer: rmu itself refuses such a layer
    return int(config.num_hidden_layers)
