"""Measures and attacks any model of a run; the run itself and rescoring are its two users."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from unlearn.attacks import Attack, Subject, Target, metric_names, metrics_of, run_attacks
from unlearn.attacks.findings import Findings
from unlearn.compute.device import Compute
from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import of_rank_zero
from unlearn.data.splits import Splits
from unlearn.data.tokens import Encoder
from unlearn.evaluation.acceptance import Condition, require_measured
from unlearn.evaluation.kept import evaluate_once
from unlearn.evaluation.measures import Measures
from unlearn.evaluation.results import Evaluation
from unlearn.evaluation.suites import Suite
from unlearn.experiment.settings import Settings
from unlearn.metrics.catalogue import Catalogue, Metric

log = logging.getLogger(__name__)

Load = Callable[[], LanguageModel]


@dataclass
class Bench:
    """The suite, the user's measures and the attacks, with what they found at each stage."""

    suite: Suite
    measures: Measures
    attacks: dict[str, Attack]
    splits: Splits
    catalogue: Catalogue
    """What is known of the metrics; the measures declare theirs as they are called."""
    stages: dict[str, Evaluation] = field(default_factory=dict)
    keys: dict[str, str | None] = field(default_factory=dict)
    """What names the model of a stage where other runs measure the same."""
    attack_notes: dict[str, list[str]] = field(default_factory=dict)
    """What the attacks said, by the stage that was attacked."""

    @staticmethod
    def of(
        settings: Settings,
        splits: Splits,
        encoder: Encoder,
        compute: Compute,
        catalogue: Catalogue,
    ) -> Bench:
        """Return the bench that the configuration describes."""
        suite = Suite(
            splits.evaluated,
            encoder,
            settings.evaluation,
            compute,
            splits.quizzes,
            splits.judged,
            splits.words,
        )
        catalogue.declare(*metrics_of(settings.attacks))
        return Bench(suite, settings.measures, settings.attacks, splits, catalogue)

    @property
    def identity(self) -> dict[str, Any]:
        """What the evaluations of two runs must share for their numbers to be compared."""
        return {**self.suite.identity, "kpis": self.measures.identity}

    @property
    def attacked(self) -> dict[str, Any]:
        """The attacks and what they said, as the record keeps it; empty where nothing was."""
        if not self.attacks or not self.attack_notes:
            return {}
        return {"names": list(self.attacks), "notes": self.attack_notes}

    def measure(self, stage: str, load: Load, key: str | None = None) -> Evaluation:
        """Measure the model that `load` returns, and keep it as `stage`.

        `key` names the model where other runs measure the same: its tables are then kept in the
        cache.
        """
        load = cache(load)
        plain = evaluate_once(self.suite, load, key, stage, self.stages.get("reference"))

        def of_measures() -> tuple[Evaluation, Sequence[Metric]]:
            added = self.measures.add_to(plain, load, self.suite.alone, stage)
            return added, self.measures.metrics

        self.keys[stage] = key
        found, metrics = of_rank_zero(of_measures) if self.measures.each else of_measures()
        self.catalogue.declare(*metrics)
        self.stages[stage] = found
        return found

    def original(self, load: Load, key: str | None) -> Target:
        """Return a model before unlearning that is no stage of the run, for the attacks' shares."""
        return Target(evaluate_once(self.suite, load, key, "original", None), load, key)

    def require(self, conditions: list[Condition]) -> list[str]:
        """Return every name that is or will be measured; refuse conditions on others.

        To be called before training, with the first stage measured.
        """
        measured = self.stages["before" if "before" in self.stages else "after"].metrics
        names = [*measured, *metric_names(self.attacks)]
        require_measured(conditions, names)
        return names

    def attack(
        self, after: Load, reference: Load | None, target: Target | None
    ) -> Iterator[tuple[str, dict[str, float | None]]]:
        """Attack the finished model and, the same way, the reference; gives what each showed."""
        if not self.attacks:
            return
        beside = None if reference is None else Target(self.stages["reference"], reference)
        findings = self.findings(target)
        for stage, load in (("after", after), ("reference", reference)):
            if load is None:
                continue
            measured, suite = self.stages[stage], self.suite.alone
            subject = Subject(stage, load(), suite, self.splits, measured, target, beside, findings)
            found, self.attack_notes[stage] = run_attacks(self.attacks, subject)
            del subject  # and with it the model, before another one loads
            self.stages[stage] = replace(measured, metrics={**measured.metrics, **found})
            yield stage, found

    def findings(self, target: Target | None) -> Findings | None:
        """Return what earlier runs found in target and reference; None where one has no key."""
        keys = [
            "" if target is None else target.key,
            self.keys["reference"] if "reference" in self.stages else "",
        ]
        known = [key for key in keys if key is not None]
        if len(known) < len(keys):
            return None
        asked = json.dumps(self.suite.identity, sort_keys=True)
        return Findings((self.suite.fingerprint, asked, self.splits.sha256, *known))
