"""Precision: what `auto` chooses on a CPU, and that float32 is float32 wherever it is asked for."""

from __future__ import annotations

import pytest
import torch
from support import tiny

from unlearn.compute.device import resolve_autocast
from unlearn.options.schema import Autocast


@pytest.mark.parametrize(
    ("has", "uses", "native"),
    [
        (True, "AVX512", True),
        (True, "AVX2", False),
        (True, "DEFAULT", False),
        (False, "AVX512", False),
    ],
)
def test_auto_takes_bfloat16_where_the_cpu_has_it_and_torch_uses_it(
    has: bool, uses: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: uses)
    assert resolve_autocast(Autocast.auto, torch.device("cpu"))[0] is native
    assert resolve_autocast(Autocast.bfloat16, torch.device("cpu"))[0]


def test_float32_is_float32_within_an_autocast_of_the_callers() -> None:
    weights = torch.rand(8, 8)
    with tiny.BFLOAT16.autocast:
        with tiny.COMPUTE.autocast:
            assert (weights @ weights).dtype is torch.float32
        assert (weights @ weights).dtype is torch.bfloat16
