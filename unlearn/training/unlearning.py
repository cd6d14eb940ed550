"""The training of one run: from the target to the unlearned model.

It evaluates on the way, keeps what a cut run needs to go on, stops when it is enough, and ends with
the best state where the configuration names a metric for that.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unlearn.compute.memory import OutOfMemory
from unlearn.compute.processes import is_main, obeyed_together, rank, world
from unlearn.compute.undisturbed import random_state, restore_random
from unlearn.console.signals import Stopped, held
from unlearn.data.batches import PairedBatches, Share
from unlearn.errors import ConfigurationError, NumericalError, UnlearnError
from unlearn.models.read_once import load_once
from unlearn.objectives.levels import level_of
from unlearn.record.checkpoints import FOLDER, Checkpoints, copy_weights
from unlearn.record.clock import Clock
from unlearn.record.lines import Record
from unlearn.storage.sealed import damage_of
from unlearn.storage.sharded import is_in_parts, read_state, read_weights
from unlearn.storage.weights import Savable, save_model
from unlearn.training.plan import Plan, announced, number_of_steps, steps_between
from unlearn.training.resources import RunResources
from unlearn.training.selection import BestCheckpoint
from unlearn.training.stopping import StopRule
from unlearn.training.trainer import Trainer

log = logging.getLogger(__name__)

Flat = dict[str, float | None]


class Unlearning:
    """One method at work on one model."""

    def __init__(
        self,
        plan: Plan,
        resources: RunResources,
        folder: Path,
        record: Record,
        clock: Clock,
    ) -> None:
        """`folder` is that of rank 0, which alone writes into it."""
        self.plan, self.resources, self.record, self.clock = plan, resources, record, clock
        self.folder, self.model = folder, resources.model
        self.trained: Savable = resources.adapter or resources.model
        method, training, encoder = plan.method, plan.training, resources.encoder
        splits = resources.splits
        forget, retain = (resources.of_task(rows) for rows in (splits.forget, splits.retain))
        method.forget.prepare(forget, method.retain)
        method.retain.prepare(retain, method.forget)
        self.stop = stop_rule(plan, resources)
        batches = PairedBatches(
            forget.examples,
            retain.examples,
            training.batch_size,
            training.micro_batch_size,
            plan.seed,
            Share(rank(), world(), in_step=resources.compute.sharded),
        )
        self.steps = number_of_steps(training, batches, method)
        self.every = steps_between(plan.evaluation, batches)
        metric, patience = plan.evaluation.best, plan.evaluation.patience
        self.best = BestCheckpoint(metric, plan.better, patience) if metric else None
        self.checkpoints = Checkpoints(
            folder,
            self.trained,
            encoder.tokenizer,
            training.checkpoint_every,
            training.checkpoint_minutes,
        )
        reads_target = plan.scheduler.reads_target or method.weighting.reads_target
        start = retain.target_sums(retain.examples) if reads_target else None
        self.trainer = Trainer(self.model, plan, batches, resources.compute, self.keep, start)
        self.ended: str | None = None
        """Why the training is over; None while it is not."""
        self.followed = True
        """Whether all is done that follows the last step: a stopped run may have left it."""
        self.rounded: float | None = None
        """Share of the weights that were rounded, where a state was kept after that."""

    def resume(self) -> None:
        """Go on from the newest checkpoint, where the folder has one.

        Raises ConfigurationError where the target is not the one that the run began with.
        """
        checkpoint = self.checkpoints.newest
        if checkpoint is None:
            return
        state = read_state(checkpoint, self.trained)
        target = self.resources.target_sha256, self.resources.target_key
        # An earlier version noted the weights alone.
        if target != (state["target_sha256"], state.get("target_key", target[1])):
            raise ConfigurationError(
                f"hydra.run.dir: {str(self.folder)!r} began with another target than is there now "
                "(was the cache cleared, or model.path written anew?); give a folder of its own"
            )
        self.take(checkpoint)
        self.trainer.load_state_dict(state["trainer"])
        self.clock.load_state_dict(state["clock"])
        if self.stop is not None:
            self.stop.load_state_dict(state["stop"])
        if self.best is not None:
            self.best.load_state_dict(state["best"])
        self.ended = state["ended"]
        self.followed, self.rounded = state.get("followed", True), state.get("rounded")
        restore_random(state["random"])
        log.info("goes on from %s, after %d of %d steps", checkpoint, self.trainer.done, self.steps)

    def run(
        self, evaluate: Callable[[str], Flat], accepted: Callable[[Flat], bool | None]
    ) -> dict[str, Any]:
        """Train to the end; returns how it ended, for the summary.

        `evaluate` measures the model as it is and records it under the name of a stage; `accepted`
        judges what it found by the acceptance conditions.
        """
        if self.plan.training.conclude and self.ended is None:
            self.ended = f"concluded after {self.trainer.done} of {self.steps} steps, as asked for"
            log.info("%s", self.ended)
        if self.ended is None:
            length = announced(self.steps, self.plan.training, self.trainer.batches)
            log.info("unlearning: %s", length)
            self.train(evaluate, accepted)
            if self.checkpoints.wanted:
                with held():
                    end = self.end_state()
                    self.checkpoints.save(self.trainer.done, end, self.progress())
        outcome: dict[str, Any] = {"reason": self.ended, "steps": self.trainer.done}
        if self.best is not None:
            outcome["best"] = {
                "metric": self.best.metric,
                "step": self.best.best_step,
                "value": self.best.best_value,
            }
            self.take_best()
        return outcome

    def train(
        self, evaluate: Callable[[str], Flat], accepted: Callable[[Flat], bool | None]
    ) -> None:
        """Take the steps that are left, until the last one or until it is enough."""

        def on_step(step: int, values: dict[str, Any]) -> None:
            self.record.log(step, values)
            if self.stop is not None:
                self.stop.saw(values["train/retain_loss"])

        def follow(step: int) -> bool:
            found = None if self.stop is None else self.stop.check(step)
            if found is not None:
                self.record.log(step, found)
                if found["until/enough"]:
                    self.ended = "training.until is reached"
            last = step == self.steps or self.ended is not None
            due = self.every and step % self.every == 0
            # The last state is measured as "after" anyway, unless it has to compete for the best.
            if (due and not last) or (last and self.best is not None):
                self.look(step, evaluate, accepted)
            if self.ended is not None:
                log.info("enough after %d of %d steps: %s", step, self.steps, self.ended)
            return self.ended is not None

        def stoppable(step: int) -> bool:
            # As it is before what follows, the lines of which are to come again. After most steps
            # nothing does, and the state need not be asked for unless the run stops there.
            before = self.unfollowed() if self.is_followed(step) else None
            try:
                with obeyed_together():
                    return follow(step)
            except Stopped:
                self.checkpoints.save_at_stop(step, *(before or self.unfollowed()))
                raise

        try:
            with held():
                if self.followed or not stoppable(self.trainer.done):
                    self.trainer.run(on_step, stoppable)
        except (NumericalError, OutOfMemory) as error:
            raise type(error)(f"{error}. {self.checkpoints.where()}.") from error
        self.ended = self.ended or "every step is taken"

    def look(
        self, step: int, evaluate: Callable[[str], Flat], accepted: Callable[[Flat], bool | None]
    ) -> None:
        """Evaluate the model on the way; keep it where it is the best, and see whether to stop."""
        with self.clock.spend("evaluate_s"):
            metrics = evaluate(f"step_{step}")
        if self.best is not None and self.best.saw(step, metrics):
            self.keep_best(step)
        if self.plan.evaluation.stop_when_accepted and accepted(metrics):
            self.ended = self.ended or "the acceptance conditions are met"
        if self.best is not None and self.best.out_of_patience:
            patience = self.best.patience
            self.ended = self.ended or f"no better {self.best.metric} in {patience} evaluations"

    def keep(self) -> Callable[[], None] | None:
        """Return what saves the state as it is now, where a checkpoint is due."""
        if not self.checkpoints.due(self.trainer.done):
            return None
        state, progress = self.state(), self.progress()
        return lambda: self.checkpoints.save(self.trainer.done, state, progress)

    def state(self) -> dict[str, Any]:
        """Return everything that a run needs to go on from here, the weights apart."""
        return {
            "target_sha256": self.resources.target_sha256,
            "target_key": self.resources.target_key,
            "trainer": self.trainer.state_dict(),
            "clock": self.clock.state_dict(),
            "stop": self.stop.state_dict() if self.stop is not None else None,
            "best": self.best.state_dict() if self.best is not None else None,
            "ended": self.ended,
            "random": random_state(),
        }

    def progress(self) -> dict[str, Any]:
        """Return what a checkpoint knows of the files beside it."""
        best = None if self.best is None else self.best.best_step
        return {**self.record.known, "best": best}

    def is_followed(self, step: int) -> bool:
        """Return whether a check, an evaluation or the end may follow a step."""
        looks = bool(self.every and step % self.every == 0)
        return self.stop is not None or looks or step == self.steps

    def unfollowed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return state and progress after a step of which nothing that follows is done."""
        return {**self.state(), "followed": False}, self.progress()

    def end_state(self) -> dict[str, Any]:
        """Return what a run needs that has no step to take: without the optimizer, which is two
        thirds of a checkpoint."""
        state = self.state()
        state["trainer"].pop("optimizer")
        return state

    def keep_end(self, rounded: float | None) -> None:
        """Keep the end of a training that is over, where the run is stopped after it.

        `rounded` is the share of the weights that were rounded since.
        """
        if self.ended is not None:
            state = {**self.end_state(), "rounded": rounded}
            self.checkpoints.save_at_stop(self.trainer.done, state, self.progress())

    def keep_best(self, step: int) -> None:
        """Save the weights that are the best so far; those that were go."""
        place = self.best_folder(step)
        save_model(self.trained, self.resources.encoder.tokenizer, place)
        for older in place.parent.glob("best_*"):
            if older != place and is_main():
                shutil.rmtree(older)

    def take_best(self) -> None:
        """Give the model the weights of the best evaluation."""
        assert self.best is not None
        step = self.best.best_step
        if step is None:
            log.warning(
                "evaluation.best: %s was never measured, so the last state is kept",
                self.best.metric,
            )
        elif step != self.trainer.done:
            best = self.best_folder(step)
            if damage := damage_of(best):
                raise UnlearnError(
                    f"the best state, {best}, is broken ({damage}); the same command begins anew"
                )
            self.take(best)
            metric, value = self.best.metric, self.best.best_value
            log.info("takes the state after step %d: the best %s, %.4g", step, metric, value)

    def take(self, folder: Path) -> None:
        """Give what is trained the weights that a checkpoint or the best state holds."""
        if is_in_parts(folder):
            read_weights(folder, self.trained)
        elif self.resources.adapter is not None:
            self.resources.adapter.take(folder)
        else:
            compute = self.resources.compute
            saved = load_once(self.plan.model, str(folder), compute, "hydra.run.dir")
            copy_weights(self.model, saved)

    def best_folder(self, step: int) -> Path:
        return self.folder / FOLDER / f"best_{step}"


def stop_rule(plan: Plan, resources: RunResources) -> StopRule | None:
    """Return the stop rule that the configuration names; None where the run takes every step."""
    training, forget = plan.training, plan.method.forget
    if training.until is None or (training.until == "auto" and not forget.endless):
        return None
    if training.until == "auto" and not resources.has_level:
        log.info(
            "training.until=auto: neither a reference nor holdout rows say when it is enough, so "
            "all %d steps are taken",
            training.steps,
        )
        return None
    level = level_of(training.until)
    nats = level if isinstance(level, float) else resources.level(level).mean().item()
    log.info("stops once the mean NLL of the forget rows is at least %.3g nats a token", nats)
    every, slack = training.until_every, training.until_retain_slack
    return StopRule(nats, every, resources.forget_loss, slack)
