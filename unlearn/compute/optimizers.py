"""AdamW in one kernel, and AdamW whose two moments are kept in 8 bits each.

The latter is that of torchao, or of bitsandbytes on a GPU. Dettmers et al. 2022 (arXiv 2110.02861):
blocks of 256 numbers share a scale. 2.03 bytes a weight instead of 8; tensors of fewer than 4096
weights keep theirs whole.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from unlearn.errors import ConfigurationError, to_install

FUSED = ("cpu", "cuda")
"""Devices on which torch's fused AdamW is used: every weight is read and written once a step."""


def adamw(parameters: Iterable[Parameter], **options: Any) -> torch.optim.AdamW:
    """Return torch's AdamW with its own options, fused where the device has that.

    `fused` and `foreach`, where they are given, are left as they are.
    """
    every = list(parameters)
    if "foreach" not in options:
        fused = all(parameter.device.type in FUSED for parameter in every)
        options = {"fused": fused or None, **options}
    return torch.optim.AdamW(every, **options)


TORCHAO, BITSANDBYTES = "torchao", "bitsandbytes"


def adamw_8bit(
    parameters: Iterable[Parameter],
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Return AdamW with moments in 8 bits; torchao's rounds bfloat16 weights stochastically.

    Raises ConfigurationError where neither library is there that could make it.
    """
    options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
    maker = maker_8bit()
    if maker == TORCHAO:
        return _of_torchao(list(parameters), options)
    if maker == BITSANDBYTES:
        from bitsandbytes.optim import AdamW8bit

        made: Optimizer = AdamW8bit(list(parameters), **options)
        return made
    raise ConfigurationError(
        f"_target_: adamw_8bit needs torchao: {to_install('quantization')} "
        "(or, on a CUDA GPU, pip install bitsandbytes); optimizer=adamw needs neither"
    )


def maker_8bit() -> str | None:
    """Return the library that makes it here; None where there is none."""
    if find_spec(TORCHAO) is not None:
        return TORCHAO
    there = torch.cuda.is_available() and find_spec(BITSANDBYTES) is not None
    return BITSANDBYTES if there else None


def rounds_stochastically(maker: Callable[..., Any]) -> bool:
    """Return whether what this makes rounds updates of bfloat16 weights without losing them."""
    function = getattr(maker, "func", maker)
    return function is adamw_8bit and maker_8bit() == TORCHAO


def _of_torchao(parameters: list[Parameter], options: dict[str, Any]) -> Optimizer:
    with _quiet():
        from torchao.optim import AdamW8bit

    class AdamW8bitHere(AdamW8bit):
        """torchao compiles its step, which fuses it on a GPU; a CPU waits 20 s for a compiler."""

        def step(self, closure: Any = None) -> Any:
            parts = (p for group in self.param_groups for p in group["params"])
            eager = all(part.device.type == "cpu" for part in parts)
            with _quiet(), torch.compiler.set_stance("force_eager" if eager else "default"):
                return super().step(closure)

    return AdamW8bitHere(parameters, bf16_stochastic_round=True, **options)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torchao says of kernels that are not there, and torch of torchao."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(max(disabled, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(disabled)
