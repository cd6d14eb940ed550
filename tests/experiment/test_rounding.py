"""One command on two kinds of CPU: sums are rounded differently, and the end should not be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.command import LEARNABLE, Command
from support.cpus import capabilities

WORDS = (
    *LEARNABLE,
    "data.forget_rows=10",
    "data.retain_rows=40",
    "data.retain_scored=20",
    "training.steps=40",
    "model.autocast=none",
    "reference=none",
    "evaluation.rows=10",
    "evaluation.max_new_tokens=1",
)
"""Target and all are made by each kind of CPU for itself, as on two machines."""
RATES = {
    "fixed": ("method=ngdiff", "scheduler=constant", "optimizer.lr=1e-4"),
    "automatic": ("method=ngdiff", "scheduler=gen"),
    "guarded": ("method=ngdiff_guarded", "method.forget.level=5", "scheduler=gen"),
}


def forget_losses(folder: Path) -> dict[str, float]:
    """Return what each command ends in, by the name of its rate."""
    folder.mkdir()
    command = Command(folder)
    ends = {}
    for name, words in RATES.items():
        done = command(*WORDS, *words)
        if done.status:
            raise RuntimeError(done.said)  # no AssertionError: nothing that a mark below expects
        ends[name] = done.summary["metrics"]["after"]["forget/loss"]
    return ends


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """What the commands end in here, and in a process with another instruction set."""
    own = torch.backends.cpu.get_cpu_capability().lower()
    others = [name for name in capabilities() if name != own]
    if not others:
        pytest.skip("this CPU has one instruction set")
    folder = tmp_path_factory.mktemp("rounding")
    process = subprocess.run(
        [sys.executable, __file__, str(folder)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
            "ATEN_CPU_CAPABILITY": others[-1],  # the widest: it takes least time
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "UNLEARN_CACHE": str(folder / "cache"),
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [forget_losses(folder / "here"), json.loads(process.stdout.splitlines()[-1])]


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
def test_the_end_does_not_hang_on_rounding(rate: str, ends: list[dict[str, float]]) -> None:
    here, there = (found[rate] for found in ends)
    assert abs(here - there) < 1, ends


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(forget_losses(Path(sys.argv[1]) / "there")))
