"""What a run tells a sweeper that searches, such as Optuna: the numbers named by `objective`.

A number that a finished run does not have (its metric was not finite) is NaN, and Optuna counts the
trial as failed, as it does one that ended with an error: it is neither on the front nor a worst
value that somebody would have to make up.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from unlearn.errors import ConfigurationError
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


def objective_values(
    names: Sequence[str] | None, summary: Mapping[str, Any]
) -> float | list[float] | None:
    """Return the metrics after unlearning in the order of `names`: one alone, or a list of several.

    None where nothing is searched; NaN for a metric without a finite value.
    """
    if names is None:
        return None
    after = summary["metrics"]["after"] or {}
    found = (after.get(name) for name in names)
    values = [math.nan if value is None else float(value) for value in found]
    return values[0] if len(values) == 1 else values


def _directions() -> list[str]:
    """Return the directions of the sweeper in use; none where it does not search."""
    if not HydraConfig.initialized():
        return []
    direction = OmegaConf.select(HydraConfig.get(), "sweeper.direction")  # type: ignore[arg-type]
    if direction is None:
        return []
    listed = direction if OmegaConf.is_list(direction) else [direction]
    return [str(getattr(one, "name", one)) for one in listed]
