"""One run, start to end.

compose & validate config → read splits → load model → prepare target → prepare reference →
evaluate "before" → for each pair of batches: two gradients → Gramian → weights → combine → step →
log → evaluate "after" → judge → save model, summary, report, figures
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from unlearn.attacks import Target
from unlearn.composition.job import experiment_name, sweep_name
from unlearn.composition.search import require_objective
from unlearn.compute.device import compute_of
from unlearn.compute.memory import explaining_memory, less_memory
from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import is_main, joined, noticing, of_rank_zero, world
from unlearn.compute.threads import threads_for
from unlearn.console.libraries import silence_libraries
from unlearn.console.once import say_once
from unlearn.console.signals import Stopped, held
from unlearn.data.control_tokens import warn_of_control_tokens
from unlearn.data.splits import Splits
from unlearn.errors import ConfigurationError, Rejected
from unlearn.evaluation.acceptance import judge
from unlearn.evaluation.best import require_known, way_of_best
from unlearn.evaluation.cut import cut_notes
from unlearn.evaluation.names import catalogue_of
from unlearn.evaluation.results import Evaluation
from unlearn.experiment.bench import Bench, Load
from unlearn.experiment.compatibility import (
    check_adapter,
    check_best,
    check_conditions,
    check_names,
    check_rows,
    refuse_level_of_reference,
)
from unlearn.experiment.ending import conclude, leave_failed
from unlearn.experiment.fitting import check_fits
from unlearn.experiment.settings import Settings, settings_of
from unlearn.experiment.summary import State
from unlearn.experiment.unread import say_unread
from unlearn.metrics.catalogue import Way
from unlearn.models.deliver import Form, form_of, round_weights, save_unlearned
from unlearn.models.identity import key_of
from unlearn.models.load import load_tokenizer
from unlearn.models.prepare import Preparation
from unlearn.models.prepared import refuse_reference
from unlearn.models.teaching import check_target
from unlearn.record.checkpoints import newest_of, read_progress, sound_checkpoint
from unlearn.record.claim import claimed
from unlearn.record.lines import Record
from unlearn.record.ownership import remove_checkpoints
from unlearn.record.resuming import begin, finished_run
from unlearn.record.sink import Sink
from unlearn.record.tracker import make_sink
from unlearn.report import print_summary
from unlearn.training.plan import Plan
from unlearn.training.resources import RunResources
from unlearn.training.unlearning import Unlearning

log = logging.getLogger(__name__)


def run(cfg: DictConfig, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Run the experiment that `cfg` describes in `folder` and print what came of it.

    See :func:`completed`. Raises Rejected where `accept.strict` and the verdict is no, after
    everything is written.
    """
    summary = completed(cfg, folder, overrides)
    if is_main():
        print_summary(folder)
    if cfg.accept.strict and summary["verdict"]["accepted"] is False:
        raise Rejected("the verdict is no: a condition of accept.conditions is not met")
    return summary


def completed(cfg: DictConfig, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Run the experiment that `cfg` describes in `folder`; returns the summary.

    A folder in which this very run was cut is gone on with; one in which it is complete is left as
    it is. Raises ConfigurationError for a wrong configuration or wrong data, before any model
    loads; NumericalError where training breaks down.
    """
    silence_libraries()
    with joined(), claimed(folder, wait=sweep_name() is not None):
        state = State(cfg, folder, overrides, of_rank_zero(lambda: folder))
        summary = of_rank_zero(lambda: finished_run(folder, state.config))
        if summary is None:
            summary = executed(state)
        else:
            log.info("this run is complete already; nothing is done again")
        if is_main() and not cfg.training.keep_checkpoints:
            remove_checkpoints(folder)
    return summary


def executed(state: State) -> dict[str, Any]:
    """Run the experiment, from its beginning or from where it was cut; returns the summary."""
    sink = Sink()
    try:
        settings, splits = checked(state.cfg, state.overrides)
        state.splits = splits
        state.catalogue = catalogue_of(splits)
        say_unread(state.cfg, settings, splits, state.overrides)
        if settings.training.conclude and newest_of(state.home) is None:
            raise ConfigurationError(
                f"training.conclude: true, but {str(state.folder)!r} holds no state to conclude "
                "with; give the hydra.run.dir of a run that was stopped, or leave it out"
            )
        resumed = of_rank_zero(lambda: begin(state.folder, state.config, splits.sha256))
        if is_main():
            sink = start_tracker(state, settings, splits)
        with Record(state.folder, sink) as record, noticing():
            if resumed:
                checkpoint = of_rank_zero(lambda: sound_checkpoint(state.folder))
                if is_main():
                    resume_record(record, checkpoint)
            with threads_for(settings.model.small):
                Run(state, settings, splits, record).execute()
        summary = of_rank_zero(lambda: conclude(state, settings, sink))
    except BaseException as error:
        if is_main():
            leave_failed(state, sink, error)
        raise
    return summary


def checked(cfg: DictConfig, overrides: list[str]) -> tuple[Settings, Splits]:
    """Return settings and rows of a configuration that goes together; no model is loaded.

    Raises ConfigurationError.
    """
    settings = settings_of(cfg, overrides)
    splits = settings.read()
    trains = settings.method is not None
    check_target(settings.model, settings.target, settings.reference, splits, trains)
    check_adapter(settings.model, trains)
    check_fits(settings)
    check_rows(
        settings.method,
        settings.training.until,
        splits,
        settings.attacks,
        settings.reference,
    )
    check_conditions(settings.conditions, splits, settings.evaluation, settings.reference)
    check_best(settings.evaluation, splits, settings.measures, settings.reference, settings.attacks)
    check_names(
        settings.objective, splits, settings.evaluation, settings.reference, settings.attacks
    )
    return settings, splits


def resume_record(record: Record, checkpoint: Path | None) -> None:
    """Put the record to where a run goes on; say it where that is its beginning."""
    if checkpoint is not None:
        record.go_on(read_progress(checkpoint))
    else:
        log.info("no checkpoint to go on from; this run begins anew")
        record.begin_anew()


Metrics = dict[str, float | None]


class Run:
    """The models and measurements of one run, from the target to the unlearned model."""

    def __init__(self, state: State, settings: Settings, splits: Splits, record: Record) -> None:
        self.state, self.settings, self.splits, self.record = state, settings, splits, record
        self.training: Unlearning | None = None

    def execute(self) -> None:
        """Prepare, evaluate, unlearn, evaluate, save."""
        state, settings = self.state, self.settings
        torch.manual_seed(settings.seed)  # nothing of ours draws from it; a user's part may
        alone = compute_of(settings.model, settings.evaluation)
        compute = replace(
            alone.shared(settings.sharding), offloads=settings.training.offload_activations
        )
        if compute.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(compute.device)

        teaching = alone.shared(settings.teaching)
        preparation = Preparation(settings.model, self.splits, compute, teaching)
        with state.clock.spend("prepare_s"):
            refuse_reference(settings.reference, self.splits)
            trains = settings.method is not None
            target = preparation.target(settings.target, trains)
            reference = preparation.reference(settings.reference, settings.subset, target)
            state.target, state.reference = target, reference
            if reference is None:
                refuse_level_of_reference(settings.method, settings.training.until, self.splits)

        with state.clock.spend("evaluate_s"):
            tokenizer = load_tokenizer(settings.model, target.folder)
            encoder = preparation.encoder(tokenizer, target.folder)
            log.info("template: %s (%s)", encoder.template, encoder.reason)
            warn_of_control_tokens(encoder.tokenizer, self.splits)
            bench = state.bench = Bench.of(settings, self.splits, encoder, compute, state.catalogue)
            load_reference = None
            if reference is not None:
                load_reference = partial(
                    preparation.load_beside, reference, encoder.tokenizer, "reference"
                )
                self.measure("reference", load_reference, key_of(settings.model, reference))
            load_start = partial(preparation.load_start if trains else preparation.load, target)
            start_key = key_of(settings.model, target, starts=trains)
            if trains:
                model, adapter = preparation.load_trained(target, settings.seed)
            else:
                model, adapter = load_start(), None
            with adapter.switched_off() if adapter is not None else nullcontext():
                self.measure("before", lambda: model, start_key)
            require_objective(settings.objective, bench.require(settings.conditions))
            better = self.better(bench.stages["before"].metrics)

        if settings.method is None:
            # Nothing has changed, and a run folder has both stages all the same.
            bench.stages["after"] = bench.stages["before"]
            self.keep("after", bench.stages["after"])
            before = self.original(preparation, bench)
        else:
            resources = RunResources(
                model,
                self.splits,
                encoder,
                compute,
                target.sha256,
                load_reference,
                start_key,
                key_of(settings.model, reference),
                adapter,
                load_start if compute.sharded else None,
            )
            form = form_of(settings.model)
            with self.kept_at_stop():
                with state.clock.spend("train_s"):
                    self.unlearn(settings.plan(settings.method, better), resources)
                self.deliver(resources, form)
            before = Target(bench.stages["before"], load_start, start_key)
        with self.kept_at_stop(), state.clock.spend("evaluate_s"):
            if is_main():  # the others wait for its summary
                self.attack(lambda: model, load_reference, before)

    def attack(self, after: Load, reference: Load | None, before: Target | None) -> None:
        """Attack the finished model and the reference; log what each showed."""
        assert self.state.bench is not None
        bench, folder = self.state.bench, self.state.folder
        for stage, found in bench.attack(after, reference, before):
            bench.stages[stage].write_metrics(folder / "evaluations" / stage)
            self.record.log(self.state.steps, {"stage": stage, **found})

    @contextmanager
    def kept_at_stop(self) -> Iterator[None]:
        """Keep the end of the training, where the run is told to stop after it."""
        try:
            yield
        except Stopped:
            # Of several processes each is elsewhere now; what they kept together has to do.
            if self.training is not None and world() == 1:
                self.training.keep_end(self.state.rounded)
            raise

    def deliver(self, resources: RunResources, form: Form) -> None:
        """Merge an adapter, round, measure and save: what is measured as after is what is saved."""
        model, adapter = resources.model, resources.adapter
        if adapter is not None:
            adapter.merge()
        self.round(model, form)
        with self.state.clock.spend("evaluate_s"):
            self.measure("after", lambda: model)
        besides = adapter.save_beside if adapter is not None and adapter.options.save else None
        tokenizer = resources.encoder.tokenizer
        save_unlearned(model, tokenizer, self.state.folder / "model", form, besides)

    def round(self, model: LanguageModel, form: Form) -> None:
        """Round the weights to what the saved form holds; a run that goes on may have done so."""
        assert self.training is not None
        with held():
            share = round_weights(model, form)
            known = self.training.rounded
            self.state.rounded = share if known is None else known

    def measure(self, stage: str, load: Load, key: str | None = None) -> Metrics:
        """Measure a model and keep what was found; see :meth:`Bench.measure`."""
        assert self.state.bench is not None
        evaluation = self.state.bench.measure(stage, load, key)
        if stage == "before":
            for note in evaluation.notes:
                say_once(log, note)
        self.keep(stage, evaluation)
        return evaluation.metrics

    def keep(self, stage: str, evaluation: Evaluation) -> None:
        """Write the tables of a stage, over those of an attempt that was cut; log the numbers."""
        if is_main():
            evaluation.write(self.state.folder / "evaluations" / stage)
        if stage not in self.record.stages:
            self.record.log(self.state.steps, {"stage": stage, **evaluation.metrics})

    def better(self, measured: Collection[str]) -> Way:
        """Return which values of evaluation.best are good, now that all names are known."""
        config = self.settings.evaluation
        if config.best is None:
            return None
        require_known(config.best, measured)
        return way_of_best(self.state.catalogue[config.best], config)

    def original(self, preparation: Preparation, bench: Bench) -> Target | None:
        """Return the model before unlearning of a run that trains none, where one is named."""
        path = self.settings.attack_before
        if path is None or not self.settings.attacks:
            return None
        model, tokenizer = preparation.named("attack_before", path), bench.suite.encoder.tokenizer
        load = partial(preparation.load_beside, model, tokenizer, "attack_before")
        return bench.original(load, key_of(self.settings.model, model))

    def say_what_is_cut(self, resources: RunResources) -> None:
        """Say of the rows to learn from which answers are cut, where the suite did not say it."""
        assert self.state.bench is not None
        rows = {"forget": self.splits.forget, "retain": self.splits.retain}
        for note in cut_notes(resources.encoder, rows):
            if note not in self.state.bench.suite.notes:
                log.warning("training: %s", note)
                self.state.notes.append(f"training: {note}")

    def unlearn(self, plan: Plan, resources: RunResources) -> None:
        """Train the model as planned, evaluating on the way where the configuration says so."""
        state, settings = self.state, self.settings
        rows = settings.training.micro_batch_size or settings.training.batch_size
        with explaining_memory("unlearning", less_memory("training", rows)):
            training = Unlearning(plan, resources, state.home, self.record, state.clock)
            self.training = training
            state.trainer = training.trainer
            self.say_what_is_cut(resources)
            training.resume()

        def evaluate(stage: str) -> Metrics:
            return self.measure(stage, lambda: resources.model)

        def accepted(metrics: Metrics) -> bool | None:
            return judge(settings.conditions, {**state.metrics, "after": metrics})["accepted"]

        state.outcome = training.run(evaluate, accepted)


def start_tracker(state: State, settings: Settings, splits: Splits) -> Sink:
    """Return the sink that the configuration names."""
    return make_sink(
        settings.tracker,
        state.folder,
        settings={"config": state.config, **state.origin},
        tags=[described["name"] for described in state.names.values()] + experiment_name(),
        public=splits.benchmark,
        sweep=sweep_name(),
        job_type="unlearn" if settings.method else "evaluate",
    )
