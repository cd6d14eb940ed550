"""Attacks: is it really gone, or only hidden? Each tries to get back what a model has forgotten.

:func:`run_attacks` is the one way in: it attacks one model and gives flat metrics, `attack/NAME` =
the recovered share and `attack/NAME_DETAIL`. What is compared with what says :class:`Subject`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from unlearn.attacks.base import Attack, Found, Subject, Target, unchanged
from unlearn.attacks.depth import Depth
from unlearn.attacks.fluency import Fluency
from unlearn.attacks.noise import Noise
from unlearn.attacks.paraphrase import Paraphrase
from unlearn.attacks.probing import Probing
from unlearn.attacks.prompts import Prompts
from unlearn.attacks.pruning import Pruning
from unlearn.attacks.quantization import Quantization
from unlearn.attacks.relearning import Relearning
from unlearn.attacks.sampling import Sampling
from unlearn.data.splits import Row
from unlearn.errors import first_line
from unlearn.metrics.catalogue import Catalogue, Metric
from unlearn.options.parts import Problems

__all__ = [
    "Attack",
    "Depth",
    "Fluency",
    "Found",
    "Noise",
    "Paraphrase",
    "Probing",
    "Prompts",
    "Pruning",
    "Quantization",
    "Relearning",
    "Sampling",
    "Subject",
    "Target",
    "check_attacks",
    "metric_names",
    "metrics_of",
    "run_attacks",
]

log = logging.getLogger(__name__)

Attacks = Mapping[str, Attack]
"""By the name that the configuration gives each, which is the name in its metrics."""


def metric_names(attacks: Attacks) -> list[str]:
    """Return the names of all metrics that :func:`run_attacks` will give."""
    return [
        name
        for attack, part in attacks.items()
        for name in (
            *([f"attack/{attack}"] if part.gives_share else []),
            *(f"attack/{attack}_{detail}" for detail in part.names()),
        )
    ]


def metrics_of(attacks: Attacks) -> list[Metric]:
    """Return the details of which an attack says another way than "as the reference"."""
    usual = Catalogue()
    return [
        replace(usual[f"attack/{name}_{detail}"], better=way)
        for name, attack in attacks.items()
        for detail, way in attack.directions().items()
    ]


def check_attacks(
    attacks: Attacks, rows: Sequence[Row], retain: Sequence[Row] | None = None
) -> list[str]:
    """Return what the rows lack for these attacks; before any model loads.

    `rows`: the scored forget rows; `retain`: all rows to keep, None where they are not known.
    """
    problems = Problems()
    for name, attack in attacks.items():
        if rows:
            problems.build(f"attack.{name}", attack.check_rows, rows)
            if retain is not None:
                problems.build(f"attack.{name}", attack.check_retain, retain)
        else:
            problems.add(f"attack.{name}: the data has no forget rows that are scored")
    return problems.found


def run_attacks(attacks: Attacks, subject: Subject) -> tuple[dict[str, float | None], list[str]]:
    """Attack the subject's model in every way; returns flat metrics and notes.

    The model, the global random generators and everything else are afterwards as they were. An
    attack that fails is null, with a note, and the others still run.
    """
    metrics: dict[str, float | None] = {}
    notes: list[str] = []
    for name, attack in attacks.items():
        log.info("%s: attack %s", subject.stage, name)
        try:
            found = _found(attack, subject)
        except Exception as error:  # any: one attack must never cost the results of the others
            log.exception("%s: attack %s failed; the other results stand", subject.stage, name)
            metrics |= dict.fromkeys(metric_names({name: attack}))
            notes.append(f"attack/{name}: failed ({type(error).__name__}: {first_line(error)})")
            continue
        if attack.gives_share:
            metrics[f"attack/{name}"] = found.recovered
        metrics |= {f"attack/{name}_{key}": x for key, x in found.details.items()}
        notes += [f"attack/{name}: {note}" for note in found.notes]
    for note in notes:
        log.info("%s: %s", subject.stage, note)
    return metrics, notes


def _found(attack: Attack, subject: Subject) -> Found:
    """Return what an attack finds; in the reference, what it once found there."""

    def find() -> dict[str, Any]:
        with unchanged(subject.model, attack.changes_weights):
            found = attack.run(subject)
        details = {key: _finite(x) for key, x in found.details.items()}
        return asdict(Found(_finite(found.recovered), details, found.notes))

    of_reference = subject.stage == "reference"
    return Found(**(subject.found_once(attack, "reference", find) if of_reference else find()))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
