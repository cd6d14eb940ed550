"""What a part sees of the run when it judges itself, before any model loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol


class Loss(Protocol):
    """What may be asked of an objective beside a part, whoever wrote it."""

    positive: bool
    trains: bool
    zero_at_target: bool
    vanishes: bool

    @property
    def at_hidden_layer(self) -> bool: ...


@dataclass(frozen=True)
class Beside:
    """The parts of a method, and what the run says of its models."""

    forget: Loss
    retain: Loss
    weighting: Any
    scheduler: Any
    """None where its own options are wrong."""
    reference: str
    """The option `reference`: auto, train, none, or a path."""
    count_layers: Callable[[], int | None]
    adapter: bool = False
    """Whether an adapter is trained in place of the weights."""
    bfloat16: bool = False
    """Whether the weights, or those below the adapter, are bfloat16."""

    @property
    def rounds(self) -> bool:
        """Whether weights that are trained are bfloat16, so that a small move of one is lost."""
        return self.bfloat16 and not self.adapter

    @cached_property
    def depth(self) -> int | None:
        """Layers of the model, read from its configuration alone; None where that says nothing."""
        return self.count_layers()

    @property
    def losses(self) -> list[tuple[str, Loss]]:
        """Both objectives with the options that name them."""
        return [("method.forget", self.forget), ("method.retain", self.retain)]
