"""Whether a loaded model is what its files say: every tensor found, each of finite numbers.

transformers draws random numbers for what a checkpoint lacks, and a NaN in a weight is measured
like any other number: both would be in every result, and in none of them visibly.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from unlearn.compute.model import LanguageModel
from unlearn.console.once import warn_once
from unlearn.errors import ConfigurationError

log = logging.getLogger(__name__)

MEND = "get the files anew, or save the model with save_pretrained"


def require_whole(model: LanguageModel, found: Mapping[str, Any], field: str, path: str) -> None:
    """Raise ConfigurationError where the files at `path` did not fill every tensor of the model.

    `found` is what `from_pretrained` says of the loading, in which tied weights are not missing.
    What a file holds beyond the model, such as the head of another task, is warned of.
    """
    kind, where = type(model).__name__, f"{field}: {path!r}"
    lacking, beyond = sorted(found["missing_keys"]), sorted(found["unexpected_keys"])
    problems = []
    if lacking:
        problems.append(f"lacks {_counted(lacking)} that a {kind} has")
    if other := sorted(found["mismatched_keys"]):
        _, theirs, ours = other[0]
        shapes = f"{list(theirs)} instead of {list(ours)}"
        problems.append(f"has {_counted([key for key, *_ in other])} of another shape ({shapes})")
    if problems and beyond:
        problems.append(f"holds {_counted(beyond)} that a {kind} has not")
    if problems:
        raise ConfigurationError(
            f"{where} {', '.join(problems)}; random numbers would stand there, so {MEND}"
        )
    if beyond:
        warn_once(log, f"{where} holds {_counted(beyond)} that a {kind} has not; left out")


@torch.no_grad()
def require_finite(model: torch.nn.Module, field: str, path: str) -> None:
    """Raise ConfigurationError where a tensor of the model holds NaN, or a weight infinity.

    A buffer may hold infinity, as a mask does. Each is read once and nothing is copied.
    """
    weights = dict(model.named_parameters())
    broken = [name for name, weight in weights.items() if not _finite(weight, bounded=True)]
    broken += [name for name, buffer in model.named_buffers() if not _finite(buffer, bounded=False)]
    if broken:
        raise ConfigurationError(
            f"{field}: {path!r} holds numbers that are not finite, in {_counted(broken)}; nothing "
            f"can be measured with them: {MEND}"
        )


def _finite(tensor: Tensor, bounded: bool) -> bool:
    """Return whether no entry is NaN and, where `bounded`, none infinite."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    least, most = tensor.aminmax()  # one pass, without a mask as large as the tensor; NaN goes on
    if bounded:
        return bool(least.isfinite() & most.isfinite())
    return not bool(least.isnan())


def _counted(names: Collection[str]) -> str:
    """Return how many tensors, and the first by its name."""
    first = repr(next(iter(names)))
    return f"the tensor {first}" if len(names) == 1 else f"{len(names)} tensors (such as {first})"
