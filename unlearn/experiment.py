"""One run, start to end.

compose & validate config → read splits → load model → prepare target → prepare reference →
evaluate "before" → for each pair of batches: two gradients → Gramian → weights → combine → step →
log → evaluate "after" → judge → save model, summary, report, figures
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from unlearn.acceptance import judge
from unlearn.checkpoints import LastGood
from unlearn.data.batches import PairedBatches
from unlearn.data.splits import Splits
from unlearn.data.tokens import Encoder
from unlearn.errors import ConfigurationError, NumericalError, Rejected
from unlearn.evaluation.cache import evaluate_once
from unlearn.evaluation.suites import Evaluation, Suite
from unlearn.files import write_json_atomic
from unlearn.models.load import (
    autocast_context,
    load_tokenizer,
    resolve_autocast,
    resolve_device,
)
from unlearn.models.prepare import Preparation, Prepared, encode_rows, save_model
from unlearn.provenance import describe_choices, plain_container, provenance
from unlearn.report import draw_figures, print_summary, side_by_side, write_report
from unlearn.settings import Settings, settings_of
from unlearn.tracking import Record, Sink, make_sink
from unlearn.training import Method, Trainer

log = logging.getLogger(__name__)


class Clock:
    """Seconds spent preparing, training and evaluating; evaluation inside training counts once."""

    def __init__(self) -> None:
        self.spent = {"prepare_s": 0.0, "train_s": 0.0, "evaluate_s": 0.0}
        self._current: str | None = None
        self._since = 0.0

    @contextmanager
    def spend(self, on: str) -> Iterator[None]:
        """Book the time inside on `on`, and not on whatever is being booked around it."""
        outer = self._switch(on)
        try:
            yield
        finally:
            self._switch(outer)

    def _switch(self, to: str | None) -> str | None:
        now, before = time.monotonic(), self._current
        if before is not None:
            self.spent[before] += now - self._since
        self._current, self._since = to, now
        return before


class Run:
    """The state of one run, and its record as it grows."""

    def __init__(self, cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
        self.cfg, self.folder, self.overrides = cfg, folder, overrides
        self.names = describe_choices(cfg)
        self.clock = Clock()
        self.evaluations: dict[str, Evaluation] = {}
        self.sink = Sink()
        self.record: Record
        self.target: Prepared | None = None
        self.reference: Prepared | None = None
        self.splits: Splits
        self.trainer: Trainer | None = None

    def execute(self) -> dict[str, Any]:
        """Do all of it; returns the summary. Raises Rejected after everything is written."""
        refuse_used(self.folder)
        try:
            settings = settings_of(self.cfg)
            self.splits = splits = settings.read()
            with Record(self.folder) as self.record:
                summary = self._execute(settings, splits)
        except BaseException as error:
            self._fail(error)
            raise
        print_summary(self.folder)
        if settings.strict and summary["verdict"]["accepted"] is False:
            raise Rejected("the verdict is no: a condition of accept.conditions is not met")
        return summary

    def _execute(self, settings: Settings, splits: Splits) -> dict[str, Any]:
        silence_libraries()
        device, reason = resolve_device(settings.model.device)
        log.info("device: %s (%s)", device, reason)
        bfloat16, reason = resolve_autocast(settings.model.autocast, device)
        log.info("computing in %s: %s", "bfloat16" if bfloat16 else "float32", reason)
        autocast = autocast_context(bfloat16, device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

        preparation = Preparation(settings.model, splits, device, autocast)
        with self.clock.spend("prepare_s"):
            self.target = preparation.target()
            self.reference = preparation.reference(settings.reference, settings.subset, self.target)
        self._start_tracker(settings)

        with self.clock.spend("evaluate_s"):
            tokenizer = load_tokenizer(settings.model, self.target.folder)
            encoder = preparation.encoder(tokenizer)
            log.info("template: %s (%s)", encoder.template, encoder.reason)
            suite = Suite(splits.evaluated, encoder, settings.evaluation, autocast)
            precision = f"{device.type}/{'bfloat16' if bfloat16 else 'float32'}"
            if (prepared := self.reference) is not None:
                self._evaluate(
                    suite,
                    "reference",
                    lambda: preparation.load_reference(prepared, tokenizer),
                    (prepared.sha256, precision),
                )
            model = preparation.load(self.target)
            self._evaluate(suite, "before", lambda: model, (self.target.sha256, precision))
        if settings.method is not None:
            with self.clock.spend("train_s"):
                self._train(settings, settings.method, model, encoder, suite)
            with self.clock.spend("evaluate_s"):
                self._evaluate(suite, "after", lambda: model)
            save_model(model, tokenizer, self.folder / "model")
        else:
            self.evaluations["after"] = self.evaluations["before"]
        return self._conclude(settings)

    def _start_tracker(self, settings: Settings) -> None:
        tags = [self.names[group]["name"] for group in ("method", "data", "model")]
        self.sink = make_sink(
            settings.tracker,
            self.folder,
            settings={"config": self._plain_config(), **self._provenance()},
            tags=tags,
            sweep=sweep_name(),
            job_type="unlearn" if settings.method else "evaluate",
        )
        self.record.sink = self.sink

    def _evaluate(
        self,
        suite: Suite,
        stage: str,
        load: Callable[[], Any],
        shared: tuple[str | None, str] = (None, ""),
    ) -> None:
        """Measure the model that `load` returns, write the tables, and log the numbers.

        `shared`: hash of the weights and precision of a model that other runs measure too.
        """
        reference = self.evaluations.get("reference")
        evaluation = evaluate_once(suite, load, *shared, stage, reference)
        if stage == "before":
            for note in evaluation.notes:
                log.info("%s", note)
        evaluation.write(self.folder / "evaluations" / stage)
        self.evaluations[stage] = evaluation
        done = self.trainer.done if self.trainer else 0
        self.record.log(done, {"stage": stage, **evaluation.metrics})

    def _train(
        self,
        settings: Settings,
        method: Method,
        model: Any,
        encoder: Encoder,
        suite: Suite,
    ) -> None:
        training, splits = settings.training, self.splits
        batches = PairedBatches(
            encode_rows(encoder, splits.forget),
            encode_rows(encoder, splits.retain),
            training.batch_size,
            training.micro_batch_size,
            encoder.tokenizer.pad_token_id,
            settings.seed,
        )
        epochs = training.epochs or 1.0
        steps = training.steps or max(1, round(epochs * batches.steps_per_epoch))
        last_good = LastGood(self.folder, model, encoder.tokenizer, training.checkpoint_every)
        optimizer = settings.optimizer([p for p in model.parameters() if p.requires_grad])
        self.trainer = trainer = Trainer(
            model,
            method,
            settings.scheduler,
            optimizer,
            batches,
            steps,
            suite.autocast,
            training.clip,
            last_good,
        )

        def after_step(step: int) -> None:
            every = settings.evaluation.every
            if every and step % every == 0 and step < steps:
                with self.clock.spend("evaluate_s"):
                    self._evaluate(suite, f"step_{step}", lambda: model)

        try:
            trainer.run(self.record.log, after_step)
        except NumericalError as error:
            raise NumericalError(f"{error}. {last_good.where()}.") from error
        if not training.keep_checkpoints:
            last_good.remove()

    def _conclude(self, settings: Settings) -> dict[str, Any]:
        """Judge, and write report, figures and summary, the summary last."""
        metrics = self._metrics()
        verdict = judge(settings.conditions, metrics)
        summary = self._summary("completed", verdict)
        figures = draw_figures(self.folder, summary)
        write_report(self.folder, summary)
        self.sink.log_generations(side_by_side(self.folder))
        self.sink.log_figures(figures)
        headline = {**(metrics["after"] or {}), "accepted": verdict["accepted"]}
        self.sink.finish(headline)
        write_json_atomic(self.folder / "summary.json", summary)
        return summary

    def _fail(self, error: BaseException) -> None:
        """Leave what is known of a run that ended early, and close the tracker."""
        status = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        summary = self._summary(status, {"accepted": None, "conditions": []})
        summary["error"] = f"{type(error).__name__}: {error}"
        self.sink.finish({}, failed=True)
        try:
            write_json_atomic(self.folder / "summary.json", summary)
        except OSError as second:
            log.error("summary.json could not be written either: %s", second)

    def _metrics(self) -> dict[str, dict[str, float | None] | None]:
        stages = ("before", "after", "reference")
        return {s: self.evaluations[s].metrics if s in self.evaluations else None for s in stages}

    def _summary(self, status: str, verdict: dict[str, Any]) -> dict[str, Any]:
        model = {**self.names["model"]}
        if self.target:
            model["target"] = {"path": self.target.folder, "accuracy": self.target.accuracy}
        if self.reference:
            model["reference"] = {
                "path": self.reference.folder,
                "accuracy": self.reference.accuracy,
            }
        cuda = torch.cuda.is_available()
        return {
            "schema": 1,
            "status": status,
            "name": self.folder.name,
            "seed": self.cfg.seed,
            "method": self.names["method"],
            "data": self.names["data"],
            "model": model,
            "scheduler": self.names["scheduler"],
            "overrides": self.overrides,
            "metrics": self._metrics(),
            "verdict": verdict,
            "cost": {
                **{name: round(seconds, 3) for name, seconds in self.clock.spent.items()},
                "steps": self.trainer.done if self.trainer else 0,
                "peak_memory_bytes": torch.cuda.max_memory_allocated() if cuda else peak_memory(),
                "tokens": self.trainer.tokens if self.trainer else 0,
            },
            "provenance": {
                **self._provenance(),
                "data_sha256": self.splits.sha256 if hasattr(self, "splits") else None,
                "target_sha256": self.target.sha256 if self.target else None,
                "reference_sha256": self.reference.sha256 if self.reference else None,
            },
        }

    def _provenance(self) -> dict[str, Any]:
        return provenance(self._plain_config())

    def _plain_config(self) -> dict[str, Any]:
        return plain_container(self.cfg)


def refuse_used(folder: Path) -> None:
    """Raise ConfigurationError where the folder already holds the record of a run."""
    if (folder / "metrics.jsonl").exists() or (folder / "summary.json").exists():
        raise ConfigurationError(
            f"hydra.run.dir: {str(folder)!r} already holds a run; give a folder of its own, or "
            "leave hydra.run.dir out for a new one"
        )


def silence_libraries() -> None:
    """Switch off the bars of libraries; ours say what takes long."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def sweep_name() -> str | None:
    """Return the name of the sweep's folder where this run is a job of one."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized() or HydraConfig.get().mode is not RunMode.MULTIRUN:
        return None
    return Path(HydraConfig.get().sweep.dir).name


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def run(cfg: DictConfig, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Run the experiment that `cfg` describes in `folder`; returns the summary.

    Raises ConfigurationError for a wrong configuration or wrong data, before any model loads;
    NumericalError where training breaks down; Rejected where `accept.strict` and the verdict is no.
    """
    return Run(cfg, folder, overrides).execute()
