"""Which device and precision a run computes in, and why."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from unlearn.compute.workers import worker_number
from unlearn.errors import first_line
from unlearn.options.schema import Autocast


def resolve_device(wanted: str) -> tuple[torch.device, str]:
    """Return the device and the reason for it; the workers of a sweep take the GPUs in turn."""
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
        torch.empty(0, device=resolve_device(wanted)[0])
    except (RuntimeError, AssertionError) as error:
        return (
            f"model.device: {wanted!r} cannot be used here ({first_line(error)}); allowed: auto, "
            "cpu, cuda, cuda:N, mps"
        )
    return None


def resolve_autocast(wanted: Autocast, device: torch.device) -> tuple[bool, str]:
    """Return whether computation runs in bfloat16, and the reason."""
    if wanted is not Autocast.auto:
        return wanted is Autocast.bfloat16, f"model.autocast={wanted.value}"
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return native, f"the {device.type} {'computes' if native else 'does not compute'} it natively"


def autocast_context(bfloat16: bool, device: torch.device) -> AbstractContextManager:
    """Return the context of every forward pass; it can be entered again and again.

    The cache of cast weights is off: a probe moves the weights between two forward passes without
    gradient, and a stale cast copy would answer for them.
    """
    if not bfloat16:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
