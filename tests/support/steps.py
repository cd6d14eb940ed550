"""Steps of a scheduler without a model: a quadratic, a network of random numbers, a line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import SGD, AdamW, Optimizer

from unlearn.schedulers import Rate, Scheduler

DOUBLE = torch.float64


@dataclass
class Told:
    """Losses as functions, for :class:`unlearn.schedulers.base.Losses`."""

    retain: Callable[[], float] | None
    forgetting: Callable[[], float] | None = None
    floor: bool = False
    guess: float = math.log(1000)
    target: float = 0.0

    def probed(self) -> float:
        assert self.retain is not None
        return self.retain()

    def probed_here(self) -> float:
        return self.probed()

    def excess(self) -> float | None:
        return None if self.retain is None else self.retain() - self.target

    def forget(self) -> float | None:
        return None if self.forgetting is None else self.forgetting()

    def forget_here(self) -> float:
        assert self.forgetting is not None
        return self.forgetting()


class Quadratic:
    """A convex quadratic of two parameters of different shape, 10 coordinates in all."""

    def __init__(self, seed: int = 0, dtype: torch.dtype = DOUBLE) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, dtype=DOUBLE, generator=generator)

        root = draw(10, 10)
        self.hessian = (root @ root.T / 10 + torch.eye(10, dtype=DOUBLE)).to(dtype)
        self.linear, self.constant = draw(10).to(dtype), 30.0
        self.parameters = [Parameter(draw(2, 3).to(dtype)), Parameter(draw(4).to(dtype))]

    @property
    def at(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self.parameters])

    def loss(self) -> float:
        return self.loss_of(self.at)

    def loss_of(self, w: Tensor) -> float:
        return (0.5 * w @ self.hessian @ w - self.linear @ w).item() + self.constant

    @property
    def gradient(self) -> Tensor:
        return self.hessian @ self.at - self.linear

    def parts(self, vector: Tensor) -> list[Tensor]:
        return [vector[:6].reshape(2, 3).clone(), vector[6:].clone()]

    def best_rate(self, direction: Tensor | None = None) -> float:
        """η* along `direction`; along the gradient where none is given."""
        u = self.gradient if direction is None else direction
        return ((self.gradient @ u) / (u @ self.hessian @ u)).item()

    def step(
        self,
        scheduler: Scheduler,
        optimizer: Optimizer,
        number: int = 0,
        direction: Tensor | None = None,
        retain_loss: Callable[[], float] | None = None,
    ) -> Rate:
        """One step of `scheduler` along `direction`, with this loss as the retain loss."""
        gradient = self.gradient
        put_gradients(self.parameters, self.parts(gradient if direction is None else direction))
        losses = Told(retain_loss or self.loss)
        return scheduler.step(number, optimizer, self.parameters, losses)


def put_gradients(parameters: list[Parameter], parts: list[Tensor]) -> None:
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part


def begun(scheduler: Scheduler, lr: float, steps: int = 100) -> Scheduler:
    scheduler.begin(lr, steps)
    return scheduler


def bits(tensors: list[Tensor]) -> list[bytes]:
    """The memory of tensors: 0.0 and −0.0 differ here, and a NaN equals itself."""
    return [tensor.detach().numpy().tobytes() for tensor in tensors]


OPTIMIZERS: dict[str, Callable[[list[Parameter]], Optimizer]] = {
    "sgd": lambda parameters: SGD(parameters, lr=0.05),
    "momentum": lambda parameters: SGD(parameters, lr=0.05, momentum=0.9, nesterov=True),
    "adamw": lambda parameters: AdamW(parameters, lr=0.05, weight_decay=0.1),
}


def network() -> list[Parameter]:
    """Float32 parameters of sizes from 1 to 40,000 elements, a signed zero among them."""
    generator = torch.Generator().manual_seed(6)
    shapes = [(200, 200), (7,), (), (33, 3)]
    parameters = [Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    with torch.no_grad():
        parameters[1][0] = -0.0
    return parameters


def random_gradients(number: int, parameters: list[Parameter]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(100 + number)
    return [torch.randn(p.shape, generator=generator) for p in parameters]


def taken_plainly(make: Callable[[list[Parameter]], Optimizer], steps: int) -> Any:
    """Parameters and optimizer after plain steps with the gradients 0, 1, 2 …"""
    parameters = network()
    optimizer = make(parameters)
    for number in range(steps):
        put_gradients(parameters, random_gradients(number, parameters))
        optimizer.step()
    return parameters, optimizer


def taken(
    scheduler: Scheduler,
    make: Callable[[list[Parameter]], Optimizer],
    steps: int,
    retain_loss: Callable[[list[Parameter]], float],
) -> Any:
    """Parameters, optimizer and rates after steps of `scheduler` with the same gradients."""
    parameters = network()
    optimizer = make(parameters)
    rates = []
    for number in range(steps):
        put_gradients(parameters, random_gradients(number, parameters))
        losses = Told(lambda: retain_loss(parameters))
        rates.append(scheduler.step(number, optimizer, parameters, losses))
    return parameters, optimizer, rates


def line_loss(slope: float, curvature: float, here: float = 10.0) -> Callable[[float], float]:
    """The retain loss at w − x·u as a function of x."""
    return lambda x: here - slope * x + 0.5 * curvature * x * x


def rate_after(scheduler: Scheduler, loss: Callable[[float], float], number: int = 0) -> Rate:
    """One step along a line: a single parameter at 0 with gradient −1, so that it stands at x."""
    parameter = Parameter(torch.zeros(1, dtype=DOUBLE))
    parameter.grad = torch.tensor([-1.0], dtype=DOUBLE)
    optimizer = SGD([parameter], lr=scheduler.lr)
    losses = Told(lambda: loss(parameter.item()))
    rate = scheduler.step(number, optimizer, [parameter], losses)
    assert parameter.item() == pytest.approx(rate.lr if rate.taken else 0.0)
    return rate
