"""Signum: every weight moves by the rate, along the sign of its momentum."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from unlearn.errors import ConfigurationError


class Signum(Optimizer):
    """Step against the sign of a moving average of the gradient: w ← w − η·(sign m + λ·w).

        m ← β·m + (1 − β)·g

    Bernstein et al. 2018, arXiv 1802.04434 (signSGD with momentum). Lang et al. 2025, arXiv
    2510.00761, find that optimizers which see less of the gradient, the sign of it among them, make
    what is forgotten harder to bring back by relearning or quantization. The length of a gradient
    has no say, so the weighting decides by direction alone; a weight whose momentum is exactly zero
    does not move. The step is linear in the rate, as `scheduler=gen` needs it, and the state is one
    number a weight.

    Where we differ from the latter's authors: only their page could be read, not their code. λ is
    decoupled from m, as in AdamW.
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-5,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        """`momentum` is β, from 0 (the sign of the gradient itself) up to, not including, 1."""
        if not 0 <= momentum < 1:
            raise ConfigurationError(
                f"momentum: {momentum}; allowed: 0 up to, not including, 1 (at 1 nothing moves)"
            )
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta, rate = group["momentum"], float(group["lr"])
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                momentum.mul_(beta).add_(parameter.grad, alpha=1 - beta)
                if group["weight_decay"]:
                    parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(momentum.sign(), alpha=-rate)
        return loss
