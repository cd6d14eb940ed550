"""The names of the metrics that a suite will measure, known before any model loads.

A condition on a misspelt name is refused at once, and not after the hours in which a target learns.
A test holds these names against those of whole runs.
"""

from __future__ import annotations

from unlearn.data.splits import Splits
from unlearn.evaluation.membership import MEMBERSHIP_SPLITS, NEEDED
from unlearn.evaluation.suites import RECITED_SPLITS, UNANSWERED_SPLITS, UTILITY_NAMES
from unlearn.metrics import RATIO_NAMES
from unlearn.options.schema import EvaluationConfig

OF_REFERENCE = ("forget_quality", "forget_quality_D", "mia_reference", "privleak")
"""What compares a model with the reference, and so has no value for the reference itself."""


def measurable(splits: Splits, config: EvaluationConfig, reference: bool) -> set[str]:
    """Return every name of the suite for these rows; `reference`: whether there is such a model."""
    names: set[str] = set(splits.quizzes)
    rows = {split: found[: config.rows] for split, found in splits.evaluated.items() if found}
    for split, found in rows.items():
        measured = ["loss", "probability", "exact_memorization"]
        if split in RECITED_SPLITS:
            measured.append("extraction_strength")
        if all(row.perturbed_answers for row in found):
            measured += RATIO_NAMES.values()
        asked = [row for row in found if row.question or not splits.quizzes]
        if asked and split not in UNANSWERED_SPLITS:
            measured += ["rougeL_recall", "rouge1_recall"]
        names |= {f"{split}/{name}" for name in measured}
    if not splits.quizzes:
        names |= set(UTILITY_NAMES.values())
    if "forget/truth_ratio" in names and reference:
        names |= {"forget_quality", "forget_quality_D"}
    if all(map(rows.get, MEMBERSHIP_SPLITS)):
        attacks = [name for name in NEEDED if name != "gradient_norm" or config.gradient_norm]
        names |= {f"mia_{name}" for name in attacks}
        if reference:
            names |= {"mia_reference", "privleak"}
    return names
