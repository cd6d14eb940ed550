"""Which way `evaluation.best` looks: as its metric is declared, else as `evaluation.mode` says."""

from __future__ import annotations

from collections.abc import Collection

from unlearn.errors import ConfigurationError
from unlearn.metrics.catalogue import Metric, Way
from unlearn.options.schema import EvaluationConfig

MODES = {"min": "lower", "max": "higher"}


def way_of_best(metric: Metric, config: EvaluationConfig) -> Way:
    """Return the way in which the best state is chosen.

    Raises ConfigurationError where nobody said which way is good, where the mode contradicts what
    is declared, and for an attack, which is measured after the training.
    """
    told = None if config.mode is None else MODES[config.mode.name]
    declared = None if metric.better == "reference" else metric.better
    if "attacks" in metric.needs:
        raise ConfigurationError(
            f"evaluation.best: {metric.name} is measured after the training; allowed: what is "
            "measured on the way, such as model_utility"
        )
    if declared is None and told is None:
        advice = ", or the measure does by `better: lower`" if metric.group == "kpi" else ""
        raise ConfigurationError(
            f"evaluation.best: nobody said which way is good for {metric.name}; say "
            f"evaluation.mode=min or evaluation.mode=max{advice}"
        )
    if declared is not None and told not in (None, declared):
        assert config.mode is not None
        raise ConfigurationError(
            f"evaluation.mode: {config.mode.name}, but {metric.name} is declared better "
            f"{metric.words}; leave evaluation.mode out"
        )
    return told if declared is None else declared


def require_known(best: str, metrics: Collection[str]) -> None:
    """Raise ConfigurationError where `best` is not among the metrics measured before training."""
    if best not in metrics:
        raise ConfigurationError(
            f"evaluation.best: {best!r} is not measured here; measured are "
            f"{', '.join(sorted(metrics))}"
        )
