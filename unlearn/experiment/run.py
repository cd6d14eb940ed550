"""One run, start to end.

compose & validate config → read splits → load model → prepare target → prepare reference →
evaluate "before" → for each pair of batches: two gradients → Gramian → weights → combine → step →
log → evaluate "after" → judge → save model, summary, report, figures
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from unlearn.attacks import Target, attack_in_turn, metric_names
from unlearn.composition.job import experiment_name, sweep_name
from unlearn.composition.search import require_objective
from unlearn.compute.device import autocast_context, resolve_autocast, resolve_device
from unlearn.console.libraries import silence_libraries
from unlearn.data.splits import Splits
from unlearn.errors import ConfigurationError, Rejected
from unlearn.evaluation.acceptance import judge, require_measured
from unlearn.evaluation.best import require_known, way_of_best
from unlearn.evaluation.kept import evaluate_once
from unlearn.evaluation.names import catalogue_of
from unlearn.evaluation.suites import Suite
from unlearn.experiment.compatibility import check_best, check_conditions, check_rows
from unlearn.experiment.ending import conclude, leave_failed
from unlearn.experiment.settings import Settings, settings_of
from unlearn.experiment.summary import State
from unlearn.metrics.catalogue import Way
from unlearn.models.load import load_tokenizer
from unlearn.models.prepare import Preparation
from unlearn.models.prepared import Prepared
from unlearn.record.checkpoints import FOLDER as CHECKPOINTS
from unlearn.record.checkpoints import newest_of, steps_of
from unlearn.record.lines import Record
from unlearn.record.resuming import begin, claimed, finished_run
from unlearn.record.sink import Sink
from unlearn.record.tracker import make_sink
from unlearn.report import print_summary
from unlearn.storage.weights import save_model
from unlearn.training.plan import Plan
from unlearn.training.resources import RunResources
from unlearn.training.unlearning import Unlearning

log = logging.getLogger(__name__)


def run(cfg: DictConfig, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Run the experiment that `cfg` describes in `folder`; returns the summary.

    A folder in which this very run was cut is gone on with; one in which it is complete is left as
    it is. Raises ConfigurationError for a wrong configuration or wrong data, before any model
    loads; NumericalError where training breaks down; Rejected where `accept.strict` and the verdict
    is no, after everything is written.
    """
    silence_libraries()
    with claimed(folder, wait=sweep_name() is not None):
        state = State(cfg, folder, overrides)
        summary = finished_run(folder, state.config)
        if summary is None:
            summary = carried_out(state)
        else:
            log.info("this run is complete already; nothing is done again")
        if not cfg.training.keep_checkpoints:
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    print_summary(folder)
    if cfg.accept.strict and summary["verdict"]["accepted"] is False:
        raise Rejected("the verdict is no: a condition of accept.conditions is not met")
    return summary


def carried_out(state: State) -> dict[str, Any]:
    """Run the experiment, from its beginning or from where it was cut; returns the summary."""
    sink = Sink()
    try:
        settings = settings_of(state.cfg)
        state.splits = splits = settings.read()
        scored = settings.evaluation.rows
        check_rows(settings.method, settings.training.until, splits, settings.attacks, scored)
        check_conditions(settings.conditions, splits, settings.evaluation, settings.reference)
        check_best(
            settings.evaluation, splits, settings.measures, settings.reference, settings.attacks
        )
        state.catalogue = catalogue_of(splits)
        resumed = begin(state.folder, state.config, splits.sha256)
        sink = start_tracker(state, settings)
        with Record(state.folder, sink) as record:
            if resumed:
                record.truncate_after(steps_of(newest_of(state.folder)))
            Run(state, settings, splits, record).execute()
        summary = conclude(state, settings, sink)
    except BaseException as error:
        leave_failed(state, sink, error)
        raise
    return summary


class Run:
    """The models and measurements of one run, from the target to the unlearned model."""

    def __init__(self, state: State, settings: Settings, splits: Splits, record: Record) -> None:
        self.state, self.settings, self.splits, self.record = state, settings, splits, record

    def execute(self) -> None:
        """Prepare, evaluate, unlearn, evaluate, save."""
        state, settings = self.state, self.settings
        torch.manual_seed(settings.seed)  # nothing of ours draws from it; a user's part may
        device, reason = resolve_device(settings.model.device)
        log.info("device: %s (%s)", device, reason)
        bfloat16, reason = resolve_autocast(settings.model.autocast, device)
        precision = "bfloat16" if bfloat16 else "float32"
        log.info("computing in %s: %s", precision, reason)
        autocast = autocast_context(bfloat16, device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

        preparation = Preparation(settings.model, self.splits, device, autocast)
        with state.clock.spend("prepare_s"):
            preparation.refuse_reference(settings.reference)
            target = state.target = preparation.target(as_it_is=settings.method is None)
            reference = preparation.reference(settings.reference, settings.subset, target)
            state.reference = reference
            require_reference(settings, reference)

        with state.clock.spend("evaluate_s"):
            encoder = preparation.encoder(load_tokenizer(settings.model, target.folder))
            log.info("template: %s (%s)", encoder.template, encoder.reason)
            splits = self.splits
            suite = Suite(
                splits.evaluated,
                encoder,
                settings.evaluation,
                autocast,
                splits.quizzes,
                splits.judged,
            )
            where = f"{device.type}/{precision}"
            state.evaluated = {**suite.identity(where), "kpis": settings.measures.identity}
            load_reference = None
            if reference is not None:
                load_reference = partial(preparation.load_reference, reference, encoder.tokenizer)
                self.evaluate(suite, "reference", load_reference, (reference.sha256, where))
            model = preparation.load(target)
            self.evaluate(suite, "before", lambda: model, (target.sha256, where))
            measured = [*state.evaluations["before"].metrics, *metric_names(settings.attacks)]
            require_measured(settings.conditions, measured)
            require_objective(settings.objective, measured)
            better = self.better(state.evaluations["before"].metrics)
            load_target = partial(preparation.load, target)

        if settings.method is None:
            # Nothing has changed, and a run folder has both stages all the same.
            after = state.evaluations["after"] = state.evaluations["before"]
            shutil.rmtree(state.folder / "evaluations" / "after", ignore_errors=True)
            after.write(state.folder / "evaluations" / "after")
            self.record.log(0, {"stage": "after", **after.metrics})
            with state.clock.spend("evaluate_s"):
                self.attack(model, suite, self.original(preparation, suite, where), load_reference)
            return
        resources = RunResources(
            model,
            self.splits,
            encoder,
            autocast,
            where,
            target.sha256,
            load_reference,
            reference.sha256 if reference else None,
            settings.evaluation.score_tokens,
        )
        with state.clock.spend("train_s"):
            self.unlearn(settings.plan(settings.method, better), resources, suite)
        with state.clock.spend("evaluate_s"):
            self.evaluate(suite, "after", lambda: model)
        save_model(model, encoder.tokenizer, state.folder / "model")
        with state.clock.spend("evaluate_s"):
            before = Target(state.evaluations["before"], load_target)
            self.attack(model, suite, before, load_reference)

    def evaluate(
        self,
        suite: Suite,
        stage: str,
        load: Callable[[], Any],
        shared: tuple[str | None, str] = (None, ""),
    ) -> dict[str, float | None]:
        """Measure the model that `load` returns, write the tables, and log the numbers.

        `shared`: hash of the weights, device and precision of a model that other runs measure too.
        """
        evaluations, load = self.state.evaluations, cache(load)
        evaluation = evaluate_once(suite, load, *shared, stage, evaluations.get("reference"))
        evaluation = self.settings.measures.add_to(evaluation, load, suite, stage)
        self.state.catalogue.declare(*self.settings.measures.metrics)
        if stage == "before":
            for note in evaluation.notes:
                log.info("%s", note)
        folder = self.state.folder / "evaluations" / stage
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was cut
        evaluation.write(folder)
        evaluations[stage] = evaluation
        if stage not in self.record.stages:
            self.record.log(self.state.steps, {"stage": stage, **evaluation.metrics})
        return evaluation.metrics

    def better(self, measured: Collection[str]) -> Way:
        """Return which values of evaluation.best are good, now that all names are known."""
        config = self.settings.evaluation
        if config.best is None:
            return None
        require_known(config.best, measured)
        return way_of_best(self.state.catalogue[config.best], config)

    def original(self, preparation: Preparation, suite: Suite, where: str) -> Target | None:
        """Return the model before unlearning of a run that trains none, where one is named."""
        path = self.settings.attack_before
        if path is None or not self.settings.attacks:
            return None
        model = preparation.named("attack_before", path)
        load = partial(preparation.load_beside, model, suite.encoder.tokenizer, "attack_before")
        return Target(evaluate_once(suite, load, model.sha256, where, "original", None), load)

    def attack(
        self,
        model: Any,
        suite: Suite,
        before: Target | None,
        load_reference: Callable[[], Any] | None,
    ) -> None:
        """Attack the finished model and, the same way, the reference; add what was found."""
        state, attacks = self.state, self.settings.attacks
        loads = {"after": lambda: model, "reference": load_reference}
        found_in = attack_in_turn(attacks, suite, self.splits, state.evaluations, loads, before)
        for stage, found, notes in found_in:
            state.attacks["names"] = list(attacks)
            state.attacks["notes"] = {**state.attacks.get("notes", {}), stage: notes}
            folder = state.folder / "evaluations" / stage
            state.evaluations[stage] = state.evaluations[stage].extended(found, folder)
            self.record.log(state.steps, {"stage": stage, **found})

    def unlearn(self, plan: Plan, resources: RunResources, suite: Suite) -> None:
        """Train the model as planned, evaluating on the way where the configuration says so."""
        state, settings = self.state, self.settings
        training = Unlearning(plan, resources, state.folder, self.record, state.clock)
        state.trainer = training.trainer
        training.resume()

        def evaluate(stage: str) -> dict[str, float | None]:
            return self.evaluate(suite, stage, lambda: resources.model)

        def accepted(metrics: dict[str, float | None]) -> bool | None:
            return judge(settings.conditions, {**state.metrics, "after": metrics})["accepted"]

        state.outcome = training.run(evaluate, accepted)


def require_reference(settings: Settings, reference: Prepared | None) -> None:
    """Raise ConfigurationError where a level is the reference's and the run has none."""
    levels = {"training.until": settings.training.until}
    if settings.method is not None:
        levels["method.forget.level"] = settings.method.forget.needs_level
    for name, level in levels.items():
        if level == "reference" and reference is None:
            raise ConfigurationError(
                f"{name}: reference, but none can be had here (see the line above); give "
                f"reference=PATH of a retain-only model, {name}=holdout where the data has holdout "
                "rows, or a number in nats a token"
            )


def start_tracker(state: State, settings: Settings) -> Sink:
    """Return the sink that the configuration names."""
    return make_sink(
        settings.tracker,
        state.folder,
        settings={"config": state.config, **state.origin},
        tags=[described["name"] for described in state.names.values()] + experiment_name(),
        sweep=sweep_name(),
        job_type="unlearn" if settings.method else "evaluate",
    )
