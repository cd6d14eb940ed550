"""Options that a command gives and that nothing of its run reads.

They are harmless, and named in one line: scripts and sweeps give all of their commands the same
options. Those that could make somebody believe in another result are refused in `compatibility`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence

from omegaconf import DictConfig, OmegaConf

from unlearn.composition.given import Given, given
from unlearn.composition.job import sweep_name
from unlearn.data.splits import Splits
from unlearn.experiment.settings import Settings
from unlearn.models.teaching import may_teach
from unlearn.options.interpolated import texts_of
from unlearn.options.schema import Template, TrackerName

log = logging.getLogger(__name__)

Rule = tuple[bool, tuple[str, ...], str]
"""Whether it holds, the options that nothing reads then, and why not."""


def say_unread(
    cfg: DictConfig, settings: Settings, splits: Splits, overrides: Sequence[str]
) -> None:
    """Name in one line what the command gives and nothing here reads.

    A warning; in a sweep, whose jobs all get the same options, a line like others.
    """
    found = unread(cfg, settings, splits, given(overrides))
    if found:
        told = "; ".join(f"{', '.join(names)} ({why})" for why, names in found.items())
        level = logging.WARNING if sweep_name() is None else logging.INFO
        log.log(level, "given, and read by nothing here: %s", told)


def unread(
    cfg: DictConfig, settings: Settings, splits: Splits, told: Given
) -> dict[str, list[str]]:
    """Return the options of a command that nothing reads, by the reason.

    One that is set to null, to false or to nothing at all is none of them.
    """
    left = {name for name, value in told.items() if value not in (None, False, {}, [])}
    found: dict[str, list[str]] = {}
    for holds, options, why in rules(cfg, settings, splits):
        if holds:
            names = {
                name for name in left if f"{name}.".startswith(tuple(f"{o}." for o in options))
            }
            left -= names
            if names:
                found.setdefault(why, []).extend(sorted(names))
    return found


def rules(cfg: DictConfig, settings: Settings, splits: Splits) -> Iterator[Rule]:
    """Yield what is not read in which runs."""
    method, model, target = settings.method, settings.model, settings.target
    steps, every = settings.training, settings.evaluation.every
    yield (
        method is None,
        OF_TRAINING,
        "method=none takes no step",
    )
    yield not _share_is_read(cfg), ("method.retain_share",), "its weighting has no share"
    yield steps.steps is not None, ("training.epochs",), "training.steps goes before it"
    yield steps.until is None, ("training.until_every",), "training.until is null"
    yield (
        method is not None and steps.until == "auto" and not method.forget.endless,
        ("training.until_every", "training.until_retain_slack"),
        "training.until=auto, and the forget loss has an end of its own",
    )
    yield every == 0, ("evaluation.unit",), "evaluation.every=0"
    yield (
        method is not None and method.weighting.fixed is None,
        ("training.diagnose_every",),
        "its weighting knows both gradients at every step",
    )
    given_model = model.path is not None
    yield given_model, ("model.tiny",), "model.path names another model"
    taught = may_teach(target, splits) and (method is not None or target.value == "train")
    relearnt = any("${model.fine_tuning.lr}" in text for text in _texts(cfg.attack))
    recipe: tuple[str, ...] = () if relearnt else ("lr",)
    recipe += ("epochs", "batch_size", "micro_batch_size", "weight_decay", "warmup", "accuracy")
    yield (
        given_model and not taught,
        tuple(f"model.fine_tuning.{name}" for name in (*recipe, "seed")),
        "nothing is taught to the model",
    )
    yield (
        settings.reference != "auto",
        ("model.published_reference",),
        f"reference={settings.reference}",
    )
    yield (
        model.template in (Template.plain, Template.raw) or not given_model,
        ("model.system_prompt", "model.chat_date", "model.chat_options"),
        "a template without chat has no such thing",
    )
    yield (
        not settings.evaluation.lm_eval.tasks,
        ("evaluation.lm_eval.batch_size", "evaluation.lm_eval.chat"),
        "evaluation.lm_eval.tasks names no task",
    )
    yield not splits.quizzes, ("evaluation.stemmer",), "these data have no quiz"
    yield (
        splits.unseen is None,
        ("evaluation.min_k", "evaluation.gradient_norm"),
        "these data have no holdout rows",
    )
    yield (
        settings.tracker.name is TrackerName.none,
        tuple(f"tracker.{name}" for name in cfg.tracker if name != "name"),
        "tracker=none",
    )


OF_TRAINING = (
    *("training", "scheduler", "optimizer", "method.retain_share"),
    *("evaluation.every", "evaluation.unit", "evaluation.best", "evaluation.mode"),
    *("evaluation.patience", "evaluation.stop_when_accepted"),
    *("model.adapter", "model.save_dtype", "tracker.log_model"),
)
"""What only a run that takes steps reads, and what it saves."""


def _share_is_read(cfg: DictConfig) -> bool:
    return any(re.search(r"\.retain_share\}", text) for text in _texts(cfg.method))


def _texts(node: DictConfig) -> Iterator[str]:
    """Yield the texts of a node as they are written."""
    yield from (text for _, text in texts_of(OmegaConf.to_container(node, resolve=False)))
