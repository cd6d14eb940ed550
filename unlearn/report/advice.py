"""What to try next, where a run ended or went where nobody wants to be."""

from __future__ import annotations

from collections.abc import Iterator

from unlearn.metrics.catalogue import BABBLES
from unlearn.record.layout import RunFolder
from unlearn.report.wording import number

LEAD = "ngdiff_guarded"
"""The method that people get who ask for advice (METHODS.md 6)."""
GUARD = "Guarded"


def advice(record: RunFolder) -> str | None:
    """Return the command to try, with the reason; None where the run gives none, or was guarded."""
    method = record.summary.get("method")
    weighting = method.get("weighting") if isinstance(method, dict) else None
    kind = str(weighting.get("_target_", "")) if isinstance(weighting, dict) else ""
    reasons = list(_reasons(record))
    if not record.training or kind.endswith(f".{GUARD}") or not reasons:
        return None
    return f"method={LEAD}: here {' and '.join(reasons)}"


def _reasons(record: RunFolder) -> Iterator[str]:
    after = record.metrics.get("after", {})
    repeated = after.get("forget/repetition")
    if repeated is not None and repeated > BABBLES:
        yield f"{repeated:.0%} of the 4-grams of the forget answers are repeated"
    safety = record.summary.get("safety") or {}
    if safety.get("beyond"):
        steps = "one step" if safety["beyond"] == 1 else f"{safety['beyond']} steps"
        yield f"the retain loss was above {number(safety['bound'])} at {steps}"
