"""Tables of models that many runs share, target and reference, kept from one run to the next.

An entry is named by everything that its tables depend on: the files of the model's folder, ids of
every scored answer and prompt, limits, device and precision. Metrics are computed afresh from the
tables, so an entry never holds a number that a newer formula would give otherwise.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import led
from unlearn.evaluation.results import Evaluation, read_tables
from unlearn.evaluation.suites import Suite
from unlearn.storage.cache import entry_of, once

log = logging.getLogger(__name__)

FORMAT = 6
"""Raised whenever scoring or generation changes its results, or entries hold something else."""


def evaluate_once(
    suite: Suite,
    load: Callable[[], LanguageModel],
    model: str | None,
    stage: str,
    reference: Evaluation | None,
) -> Evaluation:
    """Return the evaluation of the model that `load` returns, from the cache where it is there.

    `model` names it by all that can change a number; None (a model on the hub) is never cached.
    Of several processes rank 0 alone looks it up; what is not there they measure together.
    """
    return led(
        partial(_kept, suite, model, stage, reference),
        lambda: suite.evaluate(load(), stage, reference),
        suite.compute.together,
    )


def _kept(
    suite: Suite,
    model: str | None,
    stage: str,
    reference: Evaluation | None,
    evaluate: Callable[[], Evaluation],
) -> Evaluation:
    if model is None:
        return evaluate()

    def read(folder: Path) -> Evaluation:
        found = suite.summarised(*read_tables(folder), reference)
        log.info("%s: its tables are in the cache", stage)
        return found

    def make(folder: Path) -> Evaluation:
        made = evaluate()
        made.write(folder, sealed=True)
        return made

    made_of = [FORMAT, suite.fingerprint, model, suite.compute.where]
    entry = entry_of("evaluations", json.dumps(made_of))
    return once(
        entry,
        f"{stage}: its tables",
        read,
        make,
        unkept=evaluate,
    )
