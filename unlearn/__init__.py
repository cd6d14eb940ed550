"""Remove chosen data from a language model and keep the rest.

From Python, :func:`run` is the command `unlearn`, and ``unlearn.requests.Ledger`` the command
`unlearn-requests`:

    import unlearn
    result = unlearn.run({"method": "ngdiff_guarded", "training.steps": 60})
    print(result.accepted, result.metrics["after"]["forget/rougeL_recall"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearn.experiment.calling import Result, check, run

__all__ = ["Result", "check", "run"]


def __getattr__(name: str) -> Any:
    """Import what Python calls when it is asked for: commands answer `--help` without it."""
    if name not in __all__:
        raise AttributeError(f"module 'unlearn' has no attribute {name!r}")
    from unlearn.experiment import calling

    return getattr(calling, name)
