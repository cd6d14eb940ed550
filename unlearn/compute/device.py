"""Which device and precision a run computes in, and why."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from unlearn.compute.processes import local_rank, rank, started, world
from unlearn.compute.workers import worker_number
from unlearn.errors import first_line, shortened
from unlearn.options.schema import Autocast, EvaluationConfig, ModelConfig, Sharding

log = logging.getLogger(__name__)
T = TypeVar("T")


def resolve_device(wanted: str) -> tuple[torch.device, str]:
    """Return the device and the reason for it; the workers of a sweep take the GPUs in turn."""
    if started() > 1 and torch.cuda.is_available() and wanted in ("auto", "cuda"):
        device = torch.device("cuda", local_rank())
        torch.cuda.set_device(device)
        return device, f"each of {started()} processes has a GPU of its own"
    if wanted != "auto":
        return torch.device(wanted), f"model.device={wanted}"
    if torch.cuda.is_available():
        worker, gpus = worker_number(), torch.cuda.device_count()
        if worker is not None and gpus > 1:
            device = torch.device("cuda", worker % gpus)
            torch.cuda.set_device(device)  # what asks for "the" GPU, such as peak memory, means it
            return device, f"worker {worker} of the sweep takes one of {gpus} GPUs"
        return torch.device("cuda"), f"a GPU is there: {torch.cuda.get_device_name()}"
    if torch.backends.mps.is_available():
        return torch.device("mps"), "Apple's GPU is there"
    return torch.device("cpu"), "no GPU was found"


def device_problem(wanted: str) -> str | None:
    """Return why this machine has no such device, if so."""
    try:
        device = resolve_device(wanted)[0]
        torch.empty(0, device=device)
        if device.type == "meta":  # which holds no numbers
            why = "nothing is computed there"
        elif device.type in ("cpu", "mps") and device.index:  # torch takes any number for the one
            why = f"there is one {device.type}"
        else:
            return None
    except (RuntimeError, AssertionError, ValueError) as error:
        why = first_line(error)
    return (
        f"model.device: {shortened(repr(wanted))} cannot be used here ({shortened(why)}); "
        "allowed: auto, cpu, cuda, cuda:N, mps"
    )


def memory_there(device: torch.device) -> tuple[int, str]:
    """Return the bytes of the device a model is trained on, and its name."""
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return found.total_memory, found.name
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "this machine"


def resolve_autocast(wanted: Autocast, device: torch.device) -> tuple[bool, str]:
    """Return whether computation runs in bfloat16, and the reason."""
    if wanted is not Autocast.auto:
        return wanted is Autocast.bfloat16, f"model.autocast={wanted.value}"
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # The processor may have what torch was told not to use (ATEN_CPU_CAPABILITY).
        used = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        native = device.type == "cpu" and used and torch.cpu._is_avx512_bf16_supported()
    return native, f"the {device.type} {'computes' if native else 'does not compute'} it natively"


@dataclass(frozen=True)
class Compute:
    """Where and how every forward pass of a run is computed."""

    device: torch.device
    bfloat16: bool = False
    """Computation under autocast; the weights stay as they are."""
    score_tokens: int = 8192
    """Padded tokens of one scoring batch; changes no score."""
    generate_tokens: int | None = None
    """Padded tokens of one generation batch, prompts and answers; None: see `forward.decoding`."""
    sharded: bool = False
    """Whether each process holds a part of every model, so that all of them make every pass."""
    split: bool = False
    """Whether each process has the whole model, and a share of the passes of an evaluation."""
    fixed_weights: bool = False
    """Whether weights stay while the context of :attr:`autocast` lasts, so that a cast serves all
    its passes; set by `weights_cast_once` alone."""

    offloads: bool = False
    """Whether what the backward pass of a step needs waits in the CPU's memory."""

    @property
    def together(self) -> bool:
        """Whether all processes take part in an evaluation."""
        return self.sharded or self.split

    @property
    def alone(self) -> Compute:
        """The same for what one process does by itself."""
        return self.shared(Sharding.none)

    def shared(self, sharding: Sharding) -> Compute:
        """Return the same for processes that share their models so."""
        return replace(self, sharded=sharding is Sharding.fsdp, split=sharding is Sharding.ddp)

    def share(self, every: Sequence[T]) -> Sequence[T]:
        """Return what this process does of an evaluation: each of them has its part in turn."""
        return every[rank() :: world()] if self.split else every

    @property
    def precision(self) -> str:
        return "bfloat16" if self.bfloat16 else "float32"

    @property
    def where(self) -> str:
        """Device and precision, on which the last bits of a number depend: part of cache names."""
        return f"{self.device.type}/{self.precision}"

    @property
    def autocast(self) -> AbstractContextManager:
        """The context of every forward pass, float32 within an autocast of the caller's, too.

        The cache of cast weights is off unless the weights are said to be fixed: a probe moves them
        between two forward passes without gradient, and a stale cast copy would answer for them.
        """
        if not self.bfloat16:
            return torch.autocast(self.device.type, enabled=False)
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=self.fixed_weights)


def compute_of(model: ModelConfig, evaluation: EvaluationConfig) -> Compute:
    """Return where and how the configuration computes; the reasons go to the log."""
    device, why_device = resolve_device(model.device)
    bfloat16, why_precision = resolve_autocast(model.autocast, device)
    compute = Compute(device, bfloat16, evaluation.score_tokens, evaluation.generate_tokens)
    log.info("device: %s (%s)", device, why_device)
    log.info("computing in %s: %s", compute.precision, why_precision)
    return compute
