"""From a composed configuration to the settings of a run, with every problem told at once.

Nothing here loads a model.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from unlearn.attacks import Attack
from unlearn.composition.given import given
from unlearn.composition.search import check_objective
from unlearn.compute.device import device_problem, resolve_device
from unlearn.compute.processes import started
from unlearn.compute.sharding import resolve_sharding
from unlearn.data.splits import Splits
from unlearn.errors import ConfigurationError
from unlearn.evaluation.acceptance import Condition
from unlearn.evaluation.harness import harness_of
from unlearn.evaluation.measures import Measures, measures_of
from unlearn.experiment.compatibility import (
    check_acceptance,
    check_attack_options,
    check_in_4_bits,
    check_memory,
    check_parts,
    check_until,
    without_effect,
)
from unlearn.metrics.catalogue import Way
from unlearn.models.load import number_of_weights
from unlearn.models.places import check_weights, location_problems
from unlearn.objectives import Objective
from unlearn.options.declared import (
    ABOVE_ZERO,
    FINITE,
    LARGEST,
    SEED,
    SHARE,
    ZERO_OR_MORE,
    Range,
    refuse,
)
from unlearn.options.parts import (
    Problems,
    check_keys,
    check_root,
    check_texts,
    instantiated,
    locate,
    options_of,
    part,
    plain_container,
    reader_of,
)
from unlearn.options.schema import (
    SCHEMAS,
    EvaluationConfig,
    ModelConfig,
    Sharding,
    TargetChoice,
    TrackerConfig,
    TrainingConfig,
)
from unlearn.schedulers import Scheduler
from unlearn.training.interventions import Intervention
from unlearn.training.method import Method
from unlearn.training.plan import Plan
from unlearn.training.recipes import ADAM_8BIT, TAUGHT, Recipe, held, recipe_of
from unlearn.weightings import TorchJDWeighting, Weighting

log = logging.getLogger(__name__)


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
    measures: Measures
    tracker: TrackerConfig
    target: TargetChoice
    reference: str
    conditions: list[Condition]
    strict: bool
    attacks: dict[str, Attack]
    """By name; empty where none was chosen."""
    attack_before: str | None
    objective: list[str] | None
    sharding: Sharding
    """How the processes of torchrun share the model; never auto."""
    teaching: Sharding
    """The same of target and reference while they are asked and taught, which may hold more."""

    def plan(self, method: Method, better: Way) -> Plan:
        """Return what the training by `method` is told; `better`: of evaluation.best."""
        return Plan(
            method,
            self.scheduler,
            self.optimizer,
            self.training,
            self.evaluation,
            self.model,
            self.seed,
            better,
        )


def settings_of(cfg: DictConfig, overrides: Sequence[str] = ()) -> Settings:
    """Return the validated settings; raises ConfigurationError with every problem found.

    `overrides` are those of the command, which are to have an effect.
    """
    problems = Problems()
    check_texts(cfg, problems)
    if problems.found:  # the file system would be asked for them
        raise ConfigurationError(problems.found)
    check_root(cfg, problems)
    model, training, evaluation, tracker = (
        options_of(cfg[name], name, problems)
        for name in ("model", "training", "evaluation", "tracker")
    )
    reader = problems.build("data", reader_of, cfg.data)
    method = method_of(cfg, problems)
    scheduler = problems.build("scheduler", part(Scheduler), cfg.scheduler)
    optimizer = problems.build("optimizer", _optimizer, cfg.optimizer)
    conditions = [
        problems.build(f"accept.conditions[{number}]", Condition.read, item)
        for number, item in enumerate(plain_container(cfg.accept)["conditions"])
    ]
    measures = measures_of(plain_container(cfg.evaluation)["kpis"], problems)
    if evaluation is not None:
        harness = problems.build("evaluation.lm_eval", harness_of, evaluation.lm_eval)
        measures = Measures([*measures.each, *([harness] if harness else [])])
    attacks = attacks_of(cfg, problems)
    for name in (*SCHEMAS, "accept"):
        check_keys(cfg[name], name, problems)
    problems.add(
        SEED.problem("seed", cfg.seed),
        *location_problems(cfg.model),
        *without_effect(cfg, given(overrides)),
        device_problem(cfg.model.device),
    )
    check_acceptance(cfg, conditions, problems)
    if cfg.reference not in ("auto", "train", "none"):
        wrong = check_weights("reference", cfg.reference)
        problems.add(*(f"{problem} (allowed besides: auto, train, none)" for problem in wrong))
    check_attack_options(cfg, attacks, conditions, problems)
    check_parts(method, scheduler, attacks, cfg, problems)
    check_memory(model, training, optimizer, method is not None, problems)
    check_in_4_bits(model, evaluation, method is not None, problems)
    check_until(cfg.training.until, cfg.reference, problems)
    check_objective(cfg.objective, problems)
    if problems.found:
        raise ConfigurationError(problems.found)
    recipe = recipe_of(model, training, optimizer)
    sharding = sharding_of(cfg, method, attacks, measures, recipe, problems)
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
        measures=measures,
        tracker=tracker,
        target=cfg.target,
        reference=cfg.reference,
        conditions=conditions,
        strict=cfg.accept.strict,
        attacks=attacks,
        attack_before=cfg.attack_before,
        objective=None if cfg.objective is None else list(cfg.objective),
        sharding=sharding,
        teaching=teaching_of(cfg, sharding),
    )


def teaching_of(cfg: DictConfig, sharding: Sharding) -> Sharding:
    """Return how the processes share a model that is taught, which is float32 and has no adapter:
    as the one that unlearns, but where `auto` finds no room for it."""

    def held_at_all() -> float | None:
        count = number_of_weights(cfg.model)
        return None if count is None else count * TAUGHT

    if sharding is not Sharding.ddp:
        return sharding
    device, _ = resolve_device(cfg.model.device)
    return resolve_sharding(cfg.training.sharding, started(), device, held_at_all)[0]


def sharding_of(
    cfg: DictConfig,
    method: Method | None,
    attacks: Mapping[str, Attack | None],
    measures: Measures,
    recipe: Recipe,
    problems: Problems,
) -> Sharding:
    """Return how the processes share the model; notes what does not go with that."""
    wanted, processes = cfg.training.sharding, started()
    device, _ = resolve_device(cfg.model.device)

    def held_at_all() -> float | None:
        count = number_of_weights(cfg.model)
        return None if count is None else held(count, recipe)

    found, why = resolve_sharding(wanted, processes, device, held_at_all)
    if processes > 1:
        log.info("%d processes, training.sharding: %s (%s)", processes, found.value, why)
    field = f"training.sharding: {found.value}"
    problems.require(
        processes == 1 or found is not Sharding.none,
        f"{field}, but torchrun started {processes} processes; allowed: auto, ddp, fsdp, or "
        "`unlearn` itself without torchrun",
    )
    if found is not Sharding.fsdp:
        return found
    problems.require(
        recipe.state != ADAM_8BIT,
        f"optimizer: adamw_8bit, whose blocks of 256 numbers are not cut and gathered with {field} "
        f"({why}); use optimizer=adamw, or model/adapter=lora with it",
    )
    problems.require(
        recipe.adapter is None or not recipe.adapter.in_4_bits,
        f"model.adapter.quantize: nf4, whose blocks of 64 weights are not cut and gathered with "
        f"{field} ({why}); use training.sharding=ddp where a device has room for it, or "
        "model/adapter=lora with model.dtype=bfloat16",
    )
    whole = [
        *(
            f"method.interventions.{name}"
            for name, part in (method.interventions if method else {}).items()
            if not part.of_parts
        ),
        *(f"attack.{name}" for name in attacks),
        *(measure.title for measure in measures.each),
        *(["evaluation.gradient_norm"] if cfg.evaluation.gradient_norm else []),
        *(
            f"training.{name}"
            for name in ("park_gradient", "offload_activations")
            if cfg.training[name]
        ),
    ]
    problems.add(
        *(
            f"{name}: needs the whole model on one device, and {field} spreads it over "
            f"{processes} ({why}); leave it out, or take training.sharding=ddp where a device has "
            "room for it"
            for name in whole
        )
    )
    return found


def method_of(cfg: DictConfig, problems: Problems) -> Method | None:
    """Return the method, or None for method=none."""
    makers = {"forget": part(Objective), "retain": part(Objective), "weighting": _weighting}
    chosen = cfg.method.interventions
    if all(cfg.method[name] is None for name in makers):
        problems.require(
            not chosen,
            f"method.interventions: {', '.join(map(str, chosen))}, but method=none takes no step; "
            "choose a method, or leave them out",
        )
        return None
    built = {
        name: problems.build(f"method.{name}", make, cfg.method[name])
        for name, make in makers.items()
    }
    interventions = {
        str(name): problems.build(f"method.interventions.{name}", part(Intervention), chosen[name])
        for name in chosen
    }
    if any(made is None for made in [*built.values(), *interventions.values()]):
        return None
    name = " × ".join(type(built[name]).__name__ for name in makers)
    return Method(**built, name=" + ".join([name, *interventions]), interventions=interventions)


def attacks_of(cfg: DictConfig, problems: Problems) -> dict[str, Attack]:
    """Return the attacks by their names, which are to be parts of the names of metrics."""
    for name in map(str, cfg.attack):
        problems.require(
            name.isidentifier(),
            f"attack: {name!r} is no name for metrics; allowed: letters, digits and underscores",
        )
    return {
        str(name): problems.build(f"attack.{name}", part(Attack), cfg.attack[name])
        for name in cfg.attack
    }


def _weighting(node: Any) -> Weighting:
    """Return the weighting; a class of TorchJD may be named as it is."""
    if isinstance(node, DictConfig) and str(node.get("_target_", "")).startswith("torchjd."):
        options = plain_container(node)
        return TorchJDWeighting(options.pop("_target_"), options)
    return part(Weighting)(node)


def _optimizer(node: DictConfig) -> Callable[[Any], torch.optim.Optimizer]:
    """Return the optimizer's maker, tried on a parameter so that a wrong option shows at once."""
    lr = node.get("lr")
    if lr is None:
        raise ConfigurationError("lr: not set; allowed: a number above 0")
    locate(node.get("_target_"))
    found = [RATE.problem("lr", lr)]
    found += [allowed.problem(name, node.get(name)) for name, allowed in OPTIMIZER.items()]
    refuse(*found)
    maker = instantiated(node, _partial_=True)
    tried = maker([torch.nn.Parameter(torch.zeros(1))])
    left = getattr(tried, "defaults", {}).items()
    refuse(*(FINITE.problem(str(name), value) for name, value in left if type(value) is float))
    return maker


def _number(words: str, holds: Callable[[float], bool], most: float = LARGEST) -> Range:
    """Return the range of a number that torch would take as it is; lists are left to it."""
    return Range(
        words, lambda v: OmegaConf.is_list(v) or (type(v) in (int, float) and holds(v)), most=most
    )


RATE = _number("a number above 0", ABOVE_ZERO.holds)
OPTIMIZER = {
    "eps": _number("a number above 0, up to 1, or left out", lambda eps: 0 < eps <= 1),
    "weight_decay": _number("a number from 0", ZERO_OR_MORE.holds, most=1_000),
    "momentum": _number("0 up to 1", SHARE.holds),
}
"""Options of torch's optimizers that make no step, or one that is no number, where they are odd.
With eps = 0 Adam divides 0 by 0 at each weight whose gradient is 0."""
