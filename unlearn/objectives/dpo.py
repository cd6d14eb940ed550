"""Direct preference optimization: an alternative answer is preferred to the one that must go."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.objectives.alternatives_file import AlternativesFile
from unlearn.objectives.preference import Preference
from unlearn.options.declared import ABOVE_ZERO, option


@dataclass
class DPO(AlternativesFile, Preference):
    """Prefer an alternative: −(2/β)·mean of log σ(β[(S_ref−S)(alternative) − (S_ref−S)(original)]).

    Rafailov et al. 2023, arXiv 2305.18290, as NPO's authors use it (Zhang et al. 2024, arXiv
    2404.05868): with their factor 2/β, which gives the margin a slope of −1 at the target. S (B,)
    is the NLL of a row's whole answer, S_ref the same under the target, scored once and kept. With
    alternatives that the model itself was asked for (`unlearn-alternatives`) it is AltPO, Mekala et
    al., COLING 2025, arXiv 2409.13474.

    Raises ConfigurationError without a file, DataError for one that cannot be read, that lacks a
    forget question, or that prefers the very answer that must go.
    """

    needs = (
        "a file with an alternative for every forget question (.json, .jsonl, .csv or .parquet); "
        "idk_dpo does without one"
    )

    beta: float = option(0.1, ABOVE_ZERO)
    """Inverse temperature β: the larger, the sooner a row is left alone."""
