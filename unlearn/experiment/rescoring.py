"""A finished run measured again with another suite: nothing is trained, and its record stays.

The configuration is the run's own with new overrides, the models are those that the run left or
used, and the result lies beside the run's evaluations, whole or not at all.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from unlearn.attacks import Target
from unlearn.composition.recompose import recompose
from unlearn.compute.device import compute_of
from unlearn.compute.model import LanguageModel
from unlearn.compute.threads import threads_for
from unlearn.errors import ConfigurationError, shortened
from unlearn.evaluation.acceptance import judge
from unlearn.evaluation.names import catalogue_of
from unlearn.evaluation.results import Evaluation
from unlearn.experiment.bench import Bench, Load
from unlearn.experiment.compatibility import check_conditions, check_rows
from unlearn.experiment.finished import Finished, Models
from unlearn.experiment.fitting import check_attackable
from unlearn.experiment.mixing import Mixed, mixed_at
from unlearn.experiment.settings import Settings, settings_of
from unlearn.experiment.summary import metrics_of, record
from unlearn.experiment.unmixed import as_it_is
from unlearn.models.identity import key_of
from unlearn.models.load import load_tokenizer
from unlearn.models.prepare import Preparation
from unlearn.models.prepared import refuse_reference
from unlearn.options.parts import plain_container
from unlearn.record.claim import claim
from unlearn.record.provenance import provenance
from unlearn.record.stamp import write_stamped
from unlearn.storage.files import whole_folder

NAME = re.compile(r"(?!(?:before|after|reference|step_\d+)$)\w[\w.-]{0,99}")


def rescore(
    run: Finished,
    overrides: Sequence[str],
    name: str | None,
    config_dir: Path | None,
    trusted: bool = False,
    at_retain: float | None = None,
) -> tuple[Path, dict[str, Any], bool]:
    """Measure a run again; returns the new folder, its record, and whether `accept.strict`.

    `trusted` is whether code that the record names may run; `at_retain`: what is measured as after
    is the mix that keeps this share of retain/probability. Six parameters: the run, and what each
    of the command's options says.

    Raises ConfigurationError for what is wrong, before any model loads where that can be known.
    """
    place = new_folder(run, name)
    cfg = configuration_of(run, overrides, config_dir, trusted)
    models = Models.of(run, cfg, any(o.startswith("reference=") for o in overrides))
    settings = settings_of(cfg, overrides)
    try:
        splits = settings.read()
    except ConfigurationError as error:
        hint = f"the run was started in {run.started_in}: relative paths begin there"
        raise type(error)([*error.problems, f"({hint})"]) from error
    recorded = run.summary["provenance"]["data_sha256"]
    if splits.sha256 != recorded and not any(o.startswith("data") for o in overrides):
        raise ConfigurationError(
            f"data: the rows are no longer those that the run unlearned (hash "
            f"{str(recorded)[:12]}, now {splits.sha256[:12]}); put the files back, or choose other "
            "rows by data=…"
        )
    reference = "none" if models.reference is None else models.reference.folder
    check_rows(None, None, splits, settings.attacks)
    check_conditions(settings.conditions, splits, settings.evaluation, reference)
    models.require(settings)
    check_attackable(settings)

    started = time.monotonic()
    compute = compute_of(settings.model, settings.evaluation)
    preparation = Preparation(settings.model, splits, compute)
    refuse_reference(reference, splits)
    folder = models.after.folder
    encoder = preparation.encoder(load_tokenizer(settings.model, folder), folder)
    bench = Bench.of(settings, splits, encoder, compute, catalogue_of(splits))
    with threads_for(settings.model.small):
        mixed = measure(run, bench, models, preparation, settings, at_retain)

    chosen = {key: run.summary[key] for key in ("seed", "method", "scheduler")}
    kept = models.reference
    saved = record(
        "completed",
        f"{run.summary['name']}: {place.name}",
        {
            **chosen,
            "data": {**run.summary["data"], **plain_container(cfg.data)},
            "model": {**run.summary["model"], "reference": {"path": kept.folder} if kept else None},
        },
        bench.stages,
        better=bench.catalogue.better(metrics_of(bench.stages)),
        verdict=judge(settings.conditions, metrics_of(bench.stages)),
        run=str(run.folder.absolute()),
        overrides=[*run.overrides, *overrides, *([] if mixed is None else [mixed.told])],
        changed=list(overrides),
        **({} if mixed is None else {"mixed": mixed.record}),
        attacks=bench.attacked,
        cost={"evaluate_s": round(time.monotonic() - started, 3)},
        provenance={
            **provenance(plain_container(cfg)),
            "data_sha256": splits.sha256,
            "target_sha256": run.summary["provenance"]["target_sha256"],
            "reference_sha256": kept.sha256 if kept else None,
            "model_sha256": models.after.sha256,
            "evaluation": bench.identity,
        },
    )
    saved["notes"] += models.notes
    write(place, bench.stages, saved)
    return place, saved, settings.strict


def configuration_of(
    run: Finished, overrides: Sequence[str], config_dir: Path | None, trusted: bool
) -> DictConfig:
    """Return the run's configuration with new overrides; what is wrong is told with its folder."""
    try:
        return recompose(run.config, run.overrides, overrides, config_dir, trusted)
    except ConfigurationError as error:
        own = "; groups of the run's own are found by --config-dir DIR" if not config_dir else ""
        problems = [
            f"{run.folder}: {told}{own if 'no such choice' in told else ''}"
            for told in error.problems
        ]
        raise ConfigurationError(problems) from error


def measure(
    run: Finished,
    bench: Bench,
    models: Models,
    preparation: Preparation,
    settings: Settings,
    at_retain: float | None = None,
) -> Mixed | None:
    """Measure what is still there of the run's models, and attack its last one.

    Returns how the last one was mixed, where that was asked for.
    """
    load_after: Load = partial(preparation.load, models.after)
    load_reference, target, mixed = None, None, None
    if (kept := models.reference) is not None:
        tokenizer = bench.suite.encoder.tokenizer
        load_reference = partial(preparation.load_beside, kept, tokenizer, "reference")
        bench.measure("reference", load_reference, key_of(settings.model, kept))
    if (before := models.before) is not None:
        trained = settings.method is not None
        load_before = partial(preparation.load_start if trained else preparation.load, before)
        key = key_of(settings.model, before, trained)
        target = Target(bench.measure("before", load_before, key), load_before, key)
    if at_retain is not None:
        if models.before is None:
            raise ConfigurationError("--at-retain: the run's target is not there (see above)")
        if (mixed := as_it_is(run, bench, at_retain)) is not None:
            bench.require(settings.conditions)
            return mixed
        model, mixed = mixed_at(bench, load_after, load_before, at_retain)
        load_after = partial(_itself, model)
        bench.measure("after", load_after)
    elif models.after == models.before:
        bench.stages["after"] = bench.stages["before"]
    else:
        bench.measure("after", load_after)
    bench.require(settings.conditions)
    for _ in bench.attack(load_after, load_reference, target):
        pass  # what was found lies in the bench's stages
    return mixed


def _itself(model: LanguageModel) -> LanguageModel:
    return model


def new_folder(run: Finished, name: str | None) -> Path:
    """Return where the new evaluation goes: a folder that is not there yet."""
    if name is not None and not NAME.fullmatch(name):
        raise ConfigurationError(
            f"--name: {shortened(repr(name))}; allowed: letters, digits, '_', '.' and '-', "
            "at most 100, and no stage of a run"
        )
    stem = name or time.strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = run.folder / "evaluations" / stem, 1
    if not folder.resolve().is_relative_to(run.folder.resolve()):
        raise ConfigurationError(
            f"{run.folder}: its evaluations/ is a link to {folder.parent.resolve()}, and nothing "
            "is written beyond the run's folder; make it a folder"
        )
    while folder.exists() or not _free(folder):
        if name is not None:
            raise ConfigurationError(f"--name: {folder} is there already; give another name")
        number += 1
        folder = folder.with_name(f"{stem}_{number}")
    for left in folder.parent.glob(".*.unfinished"):  # by a process that was killed
        if _free(left.with_name(left.name[1:].removesuffix(".unfinished"))):
            shutil.rmtree(left, ignore_errors=True)
    return folder


def _free(folder: Path) -> bool:
    """Take a folder, to the end of the command; returns whether no other process has it."""
    try:
        claim(folder)
    except ConfigurationError:
        return False
    return True


def write(folder: Path, stages: dict[str, Evaluation], saved: dict[str, Any]) -> None:
    """Write the tables of each stage and record.json; all of them or none."""
    with whole_folder(folder) as unfinished:
        for stage, evaluation in stages.items():
            evaluation.write(unfinished / stage)
        write_stamped(unfinished / "record.json", saved)
