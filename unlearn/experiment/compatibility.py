"""What does not go together in a run, collected before any model loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf

from unlearn.attacks import Attack, check_attacks, metric_names
from unlearn.composition.given import Given
from unlearn.composition.search import require_minimised, require_objective
from unlearn.compute.device import device_problem, resolve_device
from unlearn.compute.optimizers import rounds_stochastically
from unlearn.data.splits import Splits
from unlearn.errors import ConfigurationError, DataError
from unlearn.evaluation.acceptance import Condition, condition_problems
from unlearn.evaluation.best import require_known, way_of_best
from unlearn.evaluation.harness import PREFIX as LM_EVAL
from unlearn.evaluation.measures import PREFIX, Measures
from unlearn.evaluation.names import OF_REFERENCE, catalogue_of, measurable
from unlearn.models.adapter import is_adapter
from unlearn.models.load import number_of_layers
from unlearn.models.lora import adapter_problems_of
from unlearn.models.places import check_weights, is_folder_name
from unlearn.objectives.levels import ADVICE, level_of, level_problems
from unlearn.options.beside import Beside
from unlearn.options.declared import SHARE, Declared
from unlearn.options.parts import Problems
from unlearn.options.schema import Dtype, EvaluationConfig, ModelConfig, TrainingConfig
from unlearn.schedulers import Scheduler
from unlearn.training.method import Method


def check_parts(
    method: Method | None,
    scheduler: Scheduler | None,
    attacks: Mapping[str, Attack | None],
    cfg: DictConfig,
    problems: Problems,
) -> None:
    """Let every part judge itself beside the others; None where it could not be made."""
    beside = None
    judged: dict[str, Declared | None] = {}
    if method is not None:
        if not hasattr(method.weighting, "retain_share"):  # which would say what is wrong with it
            problems.add(SHARE.problem("method.retain_share", cfg.method.retain_share))
        beside = Beside(
            method.forget,
            method.retain,
            method.weighting,
            scheduler,
            cfg.reference,
            partial(number_of_layers, cfg.model),
            adapter=cfg.model.adapter is not None,
            bfloat16=cfg.model.dtype is Dtype.bfloat16,
        )
        problems.require(
            method.forget.trains or method.retain.trains,
            "method: forget and retain are both left out; method=none evaluates without training",
        )
        judged = {
            "method.weighting": method.weighting,
            "method.forget": method.forget,
            "method.retain": method.retain,
            "scheduler": scheduler,
            **{f"method.interventions.{k}": v for k, v in method.interventions.items()},
        }
    for name, part in {**judged, **{f"attack.{k}": v for k, v in attacks.items()}}.items():
        if part is not None:
            problems.add_under(name, problems.build(name, part.problems_beside, beside) or [])


def check_memory(
    model: ModelConfig | None,
    training: TrainingConfig | None,
    optimizer: Callable[..., Any] | None,
    trains: bool,
    problems: Problems,
) -> None:
    """Note what saves memory and cannot work: it would lose updates, or save nothing."""
    if model is None or training is None or optimizer is None or not trains:
        return
    plain = model.dtype is Dtype.bfloat16 and model.adapter is None
    problems.require(
        not plain or rounds_stochastically(optimizer),
        "model.dtype: bfloat16 weights lose most updates of a small learning rate to rounding; use "
        "optimizer=adamw_8bit of torchao, which rounds at random and loses none, "
        "model/adapter=lora, which trains none of them, or model.dtype=float32 with "
        "model.autocast=bfloat16, which keeps float32 masters",
    )
    moved = {
        "park_gradient": (training.park_gradient, "both gradients are"),
        "offload_activations": (training.offload_activations, "the activations are"),
    }
    asked = {name: what for name, (wanted, what) in moved.items() if wanted}
    if asked and device_problem(model.device) is None:
        device, _ = resolve_device(model.device)
        for name, what in asked.items():
            problems.require(
                device.type == "cuda",
                f"training.{name}: true, but the model is on the device {device.type}, in whose "
                f"memory {what} to be; leave it out",
            )


def check_in_4_bits(
    model: ModelConfig | None,
    evaluation: EvaluationConfig | None,
    trains: bool,
    problems: Problems,
) -> None:
    """Note a measure that needs what layers in 4 bits have not."""
    if model is None or evaluation is None or not trains or not model.starts_in_4_bits:
        return
    problems.require(
        not evaluation.gradient_norm,
        "evaluation.gradient_norm: true, but model.adapter.quantize=nf4 keeps the model in 4 bits "
        "until it is merged, and such weights have no gradient; leave it out, or measure the "
        "finished run with unlearn-evaluate",
    )


def check_adapter(model: ModelConfig, trains: bool) -> None:
    """Raise ConfigurationError where a run that `trains` cannot have the adapter it asks for."""
    problems = adapter_problems_of(model) if trains else []
    if not trains and model.dtype is Dtype.bfloat16:
        problems.append(
            "model.dtype: bfloat16, but method=none trains no adapter, and every other model is "
            "measured in float32; use model.dtype=float32"
        )
    if problems:
        raise ConfigurationError(problems)


def without_effect(cfg: DictConfig, told: Given) -> list[str]:
    """Return the problems with options of the command that would be believed to do something."""
    problems = [
        f"{name}={{}}: an empty mapping changes nothing; give an option, {name}.OPTION=VALUE"
        + ("" if "." in name else f", or a choice, {name}=NAME")
        for name, value in told.items()
        if value == {} and OmegaConf.is_dict(there := OmegaConf.select(cfg, name)) and there
    ]
    path = cfg.model.path
    if told.get("model.revision") is not None and (path is None or is_folder_name(path)):
        what = "the tiny model" if path is None else f"the folder {path!r}"
        problems.append(
            f"model.revision: {cfg.model.revision!r}, but {what} has no revisions; give "
            "model.path=OWNER/NAME of the hub, or leave it out"
        )
    if told.get("model.base") is not None and path is not None and not is_adapter(path):
        problems.append(
            f"model.base: {cfg.model.base!r}, but model.path={path!r} is no LoRA folder, whose "
            "base it could name; leave it out"
        )
    return problems


def check_acceptance(
    cfg: DictConfig, conditions: Sequence[Condition | None], problems: Problems
) -> None:
    """Note a verdict that could never be no, and conditions that cannot be judged in time."""
    problems.require(
        bool(conditions) or not cfg.accept.strict,
        "accept.strict: true, but there is no condition that could fail; give accept.conditions, "
        "or leave it out",
    )
    for number, condition in enumerate(conditions):
        problems.require(
            condition is None or condition.of != "reference" or cfg.reference != "none",
            f"accept.conditions[{number}].of: reference, but reference=none; "
            "give reference=train or the path of a retain-only model",
        )
    if cfg.evaluation.stop_when_accepted:
        known = [c for c in conditions if c is not None and not c.metric.startswith("attack/")]
        problems.require(
            bool(known) and len(known) == len(conditions),
            "evaluation.stop_when_accepted: true needs accept.conditions, and none of them on "
            "attack/…, which is measured after the training",
        )


def check_until(until: object, reference: str, problems: Problems) -> None:
    """Note a stop rule that cannot be followed."""
    if until is not None:
        level = problems.build("training.until", level_of, until)
        problems.add(*level_problems("training.until", level, reference))


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
        if trains:
            problems.add(f"{field} is for method=none; here it is the run's own target")
        elif not cfg.attack:
            problems.add(f"{field}, but no attack is chosen; give attack=[...]")
        else:
            problems.add(*check_weights("attack_before", cfg.attack_before))
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
    reference: str = "auto",
) -> None:
    """Raise DataError where rows do not offer what method, stop rule or attacks need."""
    problems = check_attacks(attacks or {}, splits.evaluated.get("forget", []), splits.retain)
    if method is not None:
        for objective, rows in ((method.forget, splits.forget), (method.retain, splits.retain)):
            try:
                objective.check_rows(rows)
            except DataError as error:
                problems += error.problems
    for field, level in levels_of(method, until).items():
        if level == "holdout" and splits.unseen is None:
            problems.append(
                f"{field}: holdout, but the data ({splits.name}) has no holdout rows; allowed "
                "here: auto, reference, or a number in nats a token"
            )
        if level == "auto" and reference == "none" and splits.unseen is None:
            problems.append(
                f"{field}: auto, but there is no retain-only model (reference=none) and the data "
                f"({splits.name}) has no holdout rows; {ADVICE}"
            )
    if problems:
        raise DataError(problems)


def levels_of(method: Method | None, until: str | float | None) -> dict[str, str | float | None]:
    """Return the levels of forgetting that a run asks for, by the options that name them."""
    needed = None if method is None else method.forget.needs_level
    # `training.until=auto` asks for nothing: with no level there, the run takes all its steps.
    return {"training.until": None if until == "auto" else until, "method.forget.level": needed}


def refuse_level_of_reference(
    method: Method | None, until: str | float | None, splits: Splits
) -> None:
    """Raise ConfigurationError where a level is the reference's, of a run that has none."""
    for name, level in levels_of(method, until).items():
        if level == "reference" or (level == "auto" and splits.unseen is None):
            raise ConfigurationError(
                f"{name}: {level}, but no reference can be had here (see the line above); {ADVICE}"
            )


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
    later = ["attack/"]
    later += [PREFIX] if evaluation.kpis else []
    later += [LM_EVAL] if evaluation.lm_eval.tasks else []
    problems = condition_problems(conditions, names, OF_REFERENCE, there, later)
    if problems:
        raise ConfigurationError(problems)


def check_names(
    objective: Sequence[str] | None,
    splits: Splits,
    evaluation: EvaluationConfig,
    reference: str,
    attacks: Mapping[str, Attack],
) -> None:
    """Raise ConfigurationError for an objective that these data will not give.

    The names of measures are known only once those were called.
    """
    known = measurable(splits, evaluation, reference != "none") | set(metric_names(attacks))
    now = [name for name in objective or () if not name.startswith((PREFIX, LM_EVAL))]
    require_objective(now, known)
    require_minimised(objective, catalogue_of(splits), reference != "none")


def check_best(
    evaluation: EvaluationConfig,
    splits: Splits,
    measures: Measures,
    reference: str,
    attacks: Mapping[str, Attack],
) -> None:
    """Raise ConfigurationError where `evaluation.best` is not measured or has no better way."""
    best = evaluation.best
    if best is None:
        return
    if best.startswith(measures.prefixes):  # its name is known once a measure was called
        way_of_best(measures.promised(best), evaluation)
        return
    known = measurable(splits, evaluation, reference != "none")
    require_known(best, known | set(metric_names(attacks)))
    way_of_best(catalogue_of(splits)[best], evaluation)
