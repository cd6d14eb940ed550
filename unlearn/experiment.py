"""One run, start to end.

compose & validate config → read splits → load model → prepare target → prepare reference →
evaluate "before" → for each pair of batches: two gradients → Gramian → weights → combine → step →
log → evaluate "after" → judge → save model, summary, report, figures
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from unlearn.acceptance import judge, require_measured
from unlearn.attacks import Target, attack_in_turn, metric_names
from unlearn.checkpoints import FOLDER as CHECKPOINTS
from unlearn.checkpoints import newest_of, steps_of
from unlearn.compatibility import check_conditions, check_rows
from unlearn.data.splits import Splits
from unlearn.errors import ConfigurationError, Rejected
from unlearn.evaluation.cache import evaluate_once
from unlearn.evaluation.suites import Suite
from unlearn.files import write_json_atomic
from unlearn.models.load import autocast_context, load_tokenizer, resolve_autocast, resolve_device
from unlearn.models.prepare import Preparation
from unlearn.models.store import Prepared, save_model
from unlearn.report import (
    draw_figures,
    flat_summary,
    gradient_facts,
    print_summary,
    read_run,
    side_by_side,
    write_report,
)
from unlearn.resources import RunResources
from unlearn.resuming import begin, claimed, finished_run
from unlearn.search import require_objective
from unlearn.selection import require_known
from unlearn.settings import Settings, settings_of
from unlearn.summary import State
from unlearn.tracking import Record, Sink, make_sink
from unlearn.training import Method
from unlearn.unlearning import Unlearning

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
            suite = Suite(
                self.splits.evaluated, encoder, settings.evaluation, autocast, self.splits.quizzes
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
            require_known(settings.evaluation.best, state.evaluations["before"].metrics)
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
            self.unlearn(settings.method, resources, suite)
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
        measures, tokenizer = self.settings.measures, suite.encoder.tokenizer
        evaluation = measures.add_to(evaluation, load, tokenizer, suite.autocast, stage)
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

    def unlearn(self, method: Method, resources: RunResources, suite: Suite) -> None:
        """Train the model by `method`, evaluating on the way where the configuration says so."""
        state, settings = self.state, self.settings
        training = Unlearning(settings, method, resources, state.folder, self.record, state.clock)
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


def conclude(state: State, settings: Settings, sink: Sink) -> dict[str, Any]:
    """Judge, and write figures, report and summary, the summary last."""
    verdict = judge(settings.conditions, state.metrics)
    summary = state.summary("completed", verdict)
    facts: dict[str, float] = {}
    try:
        figures = draw_figures(state.folder, summary)
        write_report(state.folder, summary, figures)
        sink.log_figures(figures)
        facts = gradient_facts(read_run(state.folder, summary))
    except Exception:  # any: a page that cannot be drawn does not undo a run
        log.exception("the report could not be written; every number is in summary.json")
    sink.log_generations(side_by_side(state.folder))
    sink.log_conditions(verdict["conditions"])
    sink.log_model(state.folder / "model")
    sink.finish({**flat_summary(summary), **facts})
    write_json_atomic(state.folder / "summary.json", summary)
    return summary


def leave_failed(state: State, sink: Sink, error: BaseException) -> None:
    """Leave what is known of a run that ended early, and close the tracker."""
    status = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
    summary = state.summary(status, {"accepted": None, "conditions": []})
    summary["error"] = f"{type(error).__name__}: {error}"
    sink.finish({"status": status, "error": summary["error"]}, failed=True)
    try:
        write_json_atomic(state.folder / "summary.json", summary)
    except OSError as second:
        log.error("summary.json could not be written either: %s", second)


def silence_libraries() -> None:
    """Switch off the bars of libraries, ours say what takes long; take their lines into our log.

    Each has a handler of its own, so that a line would come twice, or never reach unlearn.log.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    for name in ("transformers", "huggingface_hub", "datasets"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True


def sweep_name() -> str | None:
    """Return day and time of the sweep that this run is a job of: its folder's last two parts.

    The time alone would put the sweeps of two days into one group.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode is not RunMode.MULTIRUN:
        return None
    return "/".join(Path(HydraConfig.get().sweep.dir).parts[-2:])


def experiment_name() -> list[str]:
    """Return the name of the chosen experiment; nothing where none is."""
    if not HydraConfig.initialized():
        return []
    name = HydraConfig.get().runtime.choices.get("experiment")
    return [name] if name else []
