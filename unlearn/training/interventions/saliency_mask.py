"""A saliency mask: only the neurons, or weights, that the forget loss depends on most may move."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from unlearn.compute.gradients import Gradient
from unlearn.errors import NumericalError
from unlearn.options.beside import Beside
from unlearn.options.declared import Range, option
from unlearn.training.direction import Direction
from unlearn.training.interventions.base import Intervention, Start

log = logging.getLogger(__name__)


class Unit(Enum):
    """What is salient or not."""

    neuron = "neuron"
    weight = "weight"


@dataclass
class SaliencyMask(Intervention):
    """Let only the share of units move whose ‖∂L_F‖ at the target is largest.

    L_F is the forget loss over all forget rows. By *neuron*, a row of a weight matrix or an entry
    of a vector, as Zhang et al., ICLR 2025, arXiv 2410.16454 (SURE), whose few neurons are moved
    at a large rate so that quantization does not undo it; by *weight*, as Fan et al., ICLR 2024,
    arXiv 2310.12508 (SalUn). All parameters compete together. Costs a gradient over the forget rows
    before the first step; under weight decay a copy of the weights that stay, else nothing.

    With `redraw` L_F is that of the step's own rows at the weights as they are, as in SURE's code,
    which keeps the 1 % of the neurons above the 99th percentile. Only the gradient is masked then:
    what the optimizer remembers of a unit, and weight decay, move it on. No gradient is taken
    before the first step, and one more is kept in memory.

    Where we differ: without `redraw` SURE's mask is drawn once; SalUn's mask is of ascent whatever
    the method, and its code takes a step after each batch. Units without a gradient never move.

    Raises NumericalError where the forget loss has no finite gradient.
    """

    needs = "a forget task"
    examples = ("", "method=npo method.interventions.saliency_mask.share=0.01")
    last = True

    share: float = option(0.1, Range("above 0 up to 1", lambda value: 0 < value <= 1))
    """Share of all units that may move; 0.01 in the code of SURE, 0.5 in that of SalUn."""
    unit: Unit = Unit.neuron
    """What is salient or not: a row of a weight matrix or an entry of a vector, or each weight."""
    redraw: bool = option(False, Range("true or false"))
    """Whether the mask is drawn anew at each step, from its rows, and masks the gradient only."""

    @property
    def needs_both(self) -> bool:  # type: ignore[override]
        return self.redraw

    def problems_beside(self, method: Beside) -> list[str]:
        if method.adapter:
            return [
                "chooses among the weights of the model itself, which an adapter leaves as "
                "they are; use it without model/adapter=lora"
            ]
        if method.forget.trains:
            return []
        return ["needs the gradient of the forget loss, but the forget task is left out"]

    def begin(self, start: Start) -> None:
        self.parameters = start.parameters
        self.decays = any(group.get("weight_decay") for group in start.optimizer.param_groups)
        self.weights: list[Tensor] = []
        if self.redraw:
            return
        scores = self._scores_of(start.forget_gradient())
        every = torch.cat([score.flatten() for score in scores])
        if not (every.isfinite().all() and every.any()):
            raise NumericalError(
                "method.interventions: saliency_mask finds no finite forget gradient other than "
                "zero at the target, so nothing is more salient than the rest"
            )
        self._freeze(self._below(scores))
        moving = every.numel() - sum(int(mask.sum()) for mask in self.frozen)
        log.info("saliency_mask: %d of %d %ss may move", moving, every.numel(), self.unit.value)

    def _scores_of(self, gradient: Gradient) -> list[Tensor]:
        return [self._scores(*pair) for pair in zip(self.parameters, gradient, strict=True)]

    def _below(self, scores: list[Tensor]) -> list[Tensor]:
        """Return which units are not among the share with the largest scores."""
        every = torch.cat([score.flatten() for score in scores])
        units = every.numel()
        least = every.kthvalue(units - max(1, round(self.share * units)) + 1).values
        return [(score < least) | (score == 0) for score in scores]

    def _scores(self, parameter: Parameter, part: Tensor | None) -> Tensor:
        """Return ‖∂L_F‖ of every unit, float32, in a shape that broadcasts to the parameter's."""
        part = torch.zeros_like(parameter) if part is None else part
        if self.unit is Unit.weight or part.dim() < 2:
            return part.float().abs()
        return part.float().pow(2).sum(dim=tuple(range(1, part.dim())), keepdim=True).sqrt()

    def _freeze(self, frozen: list[Tensor]) -> None:
        """Take over what may not move, with its weights where weight decay would move it."""
        self.frozen = frozen
        pairs = zip(self.parameters, frozen, strict=True) if self.decays else ()
        self.weights = [parameter.detach().masked_select(mask) for parameter, mask in pairs]

    def direct(self, direction: Direction) -> None:
        if self.redraw:
            forget = direction.gradient if direction.both is None else direction.both[1]
            self.frozen = self._below(self._scores_of(forget))
        for part, mask in zip(direction.gradient, self.frozen, strict=True):
            if part is not None:
                part.masked_fill_(mask, 0)

    @torch.no_grad()
    def settle(self, step: int) -> None:
        if self.decays and not self.redraw:
            for parameter, mask, kept in zip(
                self.parameters, self.frozen, self.weights, strict=True
            ):
                parameter.masked_scatter_(mask, kept)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.redraw else {"frozen": self.frozen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.redraw:
            return
        pairs = zip(state["frozen"], self.parameters, strict=True)
        self._freeze([mask.to(parameter.device) for mask, parameter in pairs])
