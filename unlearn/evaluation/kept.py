"""Tables of models that many runs share, target and reference, kept from one run to the next.

An entry is named by everything that its tables depend on: weights, ids of every scored answer and
prompt, limits, device and precision. Metrics are computed afresh from the tables, so an entry never
holds a number that a newer formula would give otherwise.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from unlearn.compute.model import LanguageModel
from unlearn.evaluation.results import Evaluation
from unlearn.evaluation.suites import Suite, summarise
from unlearn.storage.cache import cache_root

log = logging.getLogger(__name__)

FORMAT = 3
"""Raised whenever scoring or generation changes its results."""


def entry(suite: Suite, weights: str) -> Path:
    """Return the folder of the tables of the model with these weights."""
    made_of = [FORMAT, suite.fingerprint, weights, suite.compute.where]
    return (
        cache_root() / "evaluations" / hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:24]
    )


def read(folder: Path, reference: Evaluation | None, suite: Suite) -> Evaluation | None:
    """Return the evaluation whose tables lie in `folder`, or None without whole ones there."""
    if not folder.is_dir():
        return None
    try:
        scores = pd.read_parquet(folder / "scores.parquet")
        with (folder / "generations.jsonl").open(encoding="utf-8") as lines:
            texts = [json.loads(line) for line in lines]
        return summarise(scores, texts, reference, suite.config.min_k, suite.judged)
    except (OSError, ValueError, KeyError) as error:
        log.warning("evaluation: the cached one is broken (%s) and is made anew", error)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def evaluate_once(
    suite: Suite,
    load: Callable[[], LanguageModel],
    weights: str | None,
    stage: str,
    reference: Evaluation | None,
) -> Evaluation:
    """Return the evaluation of the model that `load` returns, from the cache where it is there.

    `weights` is the hash of its weights; None (a model on the hub) is never cached.
    """
    if weights is None:
        return suite.evaluate(load(), stage, reference)
    folder = entry(suite, weights)
    found = read(folder, reference, suite)
    if found is not None:
        log.info("%s: its tables are in the cache", stage)
        return found
    made = suite.evaluate(load(), stage, reference)
    made.write(folder)
    return made
