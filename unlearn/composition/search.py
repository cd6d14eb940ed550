"""What a run tells a sweeper that searches, such as Optuna: the numbers named by `objective`.

A number that a finished run does not have (its metric was not finite) is NaN, and Optuna counts the
trial as failed, as it does one that ended with an error: it is neither on the front nor a worst
value that somebody would have to make up.

What is best at a number is told as its distance from it: a forget metric as that from the
reference's value, so that no search is led to a model that has forgotten how to speak. Without a
reference lower is better down to the metric's floor. Every other metric is told as it is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from unlearn.errors import ConfigurationError
from unlearn.metrics.catalogue import Catalogue, Metric
from unlearn.options.parts import Problems


def check_objective(names: Sequence[str] | None, problems: Problems) -> None:
    """Note names that are missing, blank or twice there, and a sweeper that expects another count.

    Whether a metric of that name exists is known only once the model is measured.
    """
    if names is not None:
        problems.require(
            0 < len(names) == len({name for name in names if name.strip()}),
            f"objective: {list(names)}; allowed: null, or metrics such as "
            "[forget/rougeL_recall, retain/rougeL_recall], each once",
        )
    directions = _directions()
    if directions and len(directions) != len(names or ()):
        problems.add(
            f"objective: {len(names or ())} metrics, but hydra.sweeper.direction has "
            f"{len(directions)} ({', '.join(directions)}); give one direction, minimize or "
            "maximize, for each metric of objective"
        )


def require_objective(names: Sequence[str] | None, metrics: Collection[str]) -> None:
    """Raise ConfigurationError for an objective that is not among what is measured.

    Before training: a misspelt name would cost the run.
    """
    unknown = [name for name in names or () if name not in metrics]
    if unknown:
        raise ConfigurationError(
            f"objective: {', '.join(unknown)} is not measured here; "
            f"measured are {', '.join(sorted(metrics))}"
        )


def require_minimised(names: Sequence[str] | None, catalogue: Catalogue, reference: bool) -> None:
    """Raise ConfigurationError where the sweeper would maximise a distance.

    `reference`: whether the run has one, as what shows forgetting is a distance only beside it.
    """
    for name, direction in zip(names or (), _directions(), strict=False):
        metric, level = catalogue[name], 0.0 if reference else None
        if direction == "maximize" and isinstance(metric.beside(level).better, float | int):
            best = metric.words_beside(level)
            raise ConfigurationError(
                f"objective: {name} is told as its distance from what is best ({best}), of which "
                "less is better; say minimize in its place of hydra.sweeper.direction"
            )


def objective_values(
    names: Sequence[str] | None, summary: Mapping[str, Any]
) -> float | list[float] | None:
    """Return what is told of the metrics after unlearning, in the order of `names`.

    One alone, or a list of several; None where nothing is searched; NaN for a metric without a
    finite value.
    """
    if names is None:
        return None
    after = summary["metrics"]["after"] or {}
    reference = summary["metrics"].get("reference") or {}
    catalogue = Catalogue.recorded(summary)
    values = [_told(catalogue[name].beside(reference.get(name)), after.get(name)) for name in names]
    return values[0] if len(values) == 1 else values


def _told(metric: Metric, value: float | None) -> float:
    """Return a distance, or the value itself where higher or lower is better or nobody said."""
    if value is None:
        return math.nan
    if metric.better in ("higher", None):
        return float(value)
    return metric.distance(float(value))


def _directions() -> list[str]:
    """Return the directions of the sweeper in use; none where it does not search."""
    if not HydraConfig.initialized():
        return []
    direction = OmegaConf.select(HydraConfig.get(), "sweeper.direction")  # type: ignore[arg-type]
    if direction is None:
        return []
    listed = direction if OmegaConf.is_list(direction) else [direction]
    return [str(getattr(one, "name", one)) for one in listed]
