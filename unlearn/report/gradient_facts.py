"""What the gradients of a run tell, all steps together: NGDiff's Figure 2 in a few numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from unlearn.record.layout import RunFolder
from unlearn.report.markdown import table
from unlearn.report.wording import number

ROUNDING = 1e-6
"""What rounding may leave of a zero product of unit vectors: parallel gradients touch the bound."""


def kept_both_signs(line: Mapping[str, Any]) -> bool:
    """Return whether the direction d of a step lowers both minimised losses to first order.

    d·g_retain ≥ 0 and d·g_forget ≥ 0, up to rounding relative to the norms.
    """
    norm = line["train/direction_norm"] or 0.0
    return all(
        line[f"train/{task}_descent"] >= -ROUNDING * norm * line[f"train/{task}_norm"]
        for task in ("retain", "forget")
    )


def gradient_facts(record: RunFolder) -> dict[str, float]:
    """Return the numbers by flat name; none where no step took its gradients apart."""
    lines = record.diagnosed
    if not lines:
        return {}
    return {
        "train/kept_both_signs": fmean(map(kept_both_signs, lines)),
        "train/median_cosine": median(_column(lines, "train/cosine")),
        "train/median_retain_norm": median(_column(lines, "train/retain_norm")),
        "train/median_forget_norm": median(_column(lines, "train/forget_norm")),
        "train/mean_retain_share": fmean(_column(lines, "train/retain_share")),
    }


def gradients_section(record: RunFolder) -> str:
    """Return the section of the report; empty where there is nothing to tell."""
    facts = gradient_facts(record)
    if not facts:
        return ""
    told = {
        "train/kept_both_signs": "share of steps whose direction lowers both minimised losses",
        "train/median_cosine": "median cosine of the two gradients being minimised",
        "train/median_retain_norm": "median norm of the retain gradient",
        "train/median_forget_norm": "median norm of the forget gradient",
        "train/mean_retain_share": "mean retain share c of the two weights",
    }
    rows = [[text, number(facts[name])] for name, text in told.items()]
    return (
        f"## Gradients\n\nOver the {len(record.diagnosed)} of {len(record.training)} steps at "
        "which both gradients were taken apart; of the raw direction, before the optimizer.\n\n"
        + table(["", ""], rows, "lr")
    )


def _column(lines: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [line[name] for line in lines if line[name] is not None] or [float("nan")]
