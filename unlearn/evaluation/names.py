"""The names of the metrics that a suite will measure, known before any model loads.

A condition on a misspelt name is refused at once, and not after the hours in which a target learns.
A test holds these names against those of whole runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from unlearn.data.splits import Splits, judgement
from unlearn.evaluation.cut import REQUEST
from unlearn.metrics.catalogue import OF_SPLITS, WHOLE, Catalogue, Metric
from unlearn.metrics.task_aggregate import TERMS
from unlearn.options.schema import EvaluationConfig

OF_REFERENCE = tuple(metric.name for metric in WHOLE if "reference" in metric.needs)
"""What compares a model with the reference, and so has no value for the reference itself."""


def catalogue_of(splits: Splits) -> Catalogue:
    """Return the catalogue with what the reader declares: roles of splits, and quizzes."""
    catalogue = Catalogue({name: how.role for name, how in splits.judged.items()})
    for name in splits.quizzes:
        catalogue.declare_quiz(name)
    return catalogue


def measurable(splits: Splits, config: EvaluationConfig, reference: bool) -> set[str]:
    """Return every name of the suite for these rows; `reference`: whether there is such a model."""
    names: set[str] = set(splits.quizzes)
    rows = {split: found[: config.rows] for split, found in splits.evaluated.items() if found}
    for split, found in rows.items():
        how = judgement(split, splits.judged)
        offered = {
            "answers": how.asked,
            "wrong answers": all(row.perturbed_answers for row in found),
            "multiple choice": how.chosen,
            "recited": how.recited,
        }
        names |= {f"{split}/{name}" for name in _having(OF_SPLITS, offered)}
    offered = {
        "no quiz": not splits.quizzes,
        "LUME's quizzes": all(name in splits.quizzes for name in TERMS),
        "forget/truth_ratio": f"{REQUEST}/truth_ratio" in names,
        "unseen": REQUEST in rows and splits.unseen is not None,
        "gradient norms": config.gradient_norm,
        "reference": reference,
    }
    return names | _having(WHOLE, offered)


def _having(metrics: Iterable[Metric], offered: dict[str, bool]) -> set[str]:
    """Return the names of the metrics of which everything that they need is offered."""
    return {m.name for m in metrics if all(offered.get(need) for need in m.needs)}
