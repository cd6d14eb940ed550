"""From the name of a TorchJD weighting and its options to the object, errors named.

TorchJD is imported late: it takes seconds, and only the methods that use it should wait for it.
"""

from __future__ import annotations

import inspect
import pkgutil
from typing import Any

import torch

from unlearn.errors import ConfigurationError, to_install


def module_of(kind: str, options: dict[str, Any]) -> torch.nn.Module:
    """Return a new instance of the class named `kind`; raises ConfigurationError."""
    target = _gramian_weighting(kind)
    signature = inspect.signature(target.__init__)
    try:
        signature.bind(None, **options)
    except TypeError as error:
        allowed = ", ".join(list(signature.parameters)[1:]) or "none"
        raise ConfigurationError(f"options: {kind}: {error}; its options: {allowed}") from error
    try:
        return target(**{name: _argument(value) for name, value in options.items()})
    except ImportError as error:
        missing = str(error).partition(" Install")[0]  # what follows is TorchJD's own extra
        raise ConfigurationError(
            f"kind: {missing} To have them: {to_install('solvers')}"
        ) from error
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"options: {kind}: {error}") from error


def _gramian_weighting(name: str) -> type[torch.nn.Module]:
    """Return the class of that name; raises ConfigurationError where it is none for Gramians."""
    import torchjd.aggregation
    from torchjd.aggregation._weighting_bases import _GramianWeighting  # no public name for it

    known = sorted(
        kind.__name__
        for kind in vars(torchjd.aggregation).values()
        if isinstance(kind, type) and issubclass(kind, _GramianWeighting)
    )
    allowed = f"torchjd.aggregation.X with X one of {', '.join(known)}"
    try:
        target = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"kind: {name!r} does not exist; allowed: {allowed}") from error
    if not (isinstance(target, type) and issubclass(target, _GramianWeighting)):
        raise ConfigurationError(
            f"kind: {name!r} does not weigh by the Gramian alone; allowed: {allowed}"
        )
    return target


def _argument(value: Any) -> Any:
    """Return what a YAML value stands for."""
    if isinstance(value, list):
        return torch.tensor(value, dtype=torch.float64)
    if isinstance(value, dict):  # only `projector` takes one
        from torchjd.linalg import QuadprogProjector

        return QuadprogProjector(**value)
    return value
