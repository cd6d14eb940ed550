"""A run of two processes gives one process's numbers, whatever the method and however shared."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from support.command import DESCENT, QUICK, Command, Done, finish, start
from support.ranks import Together, between_weights, differences, metrics_apart, newest_step

RUN = (
    *(word for word in QUICK if not word.startswith(("training.steps", "training.batch_size"))),
    "model.tiny.layers=2",
    "training.steps=10",
    "training.batch_size=5",
    "training.until=null",
)
"""Ten steps of five rows a task: three for one process, two for the other."""

METHODS = {
    "ngdiff": ("method=ngdiff", *DESCENT),
    "ngdiff_guarded": ("method=ngdiff_guarded", *DESCENT),
    "pcgrad": ("method=pcgrad", *DESCENT),
    "npo": ("method=npo", *DESCENT),
    "kl": ("method=ngdiff", "method/retain=kl", *DESCENT),
    "rmu": ("method=rmu", "method.forget.layer=1", *DESCENT),
    "gen": ("method=ngdiff", "scheduler=gen", "optimizer=adamw"),
    "gen, npo": ("method=ngdiff", "method/forget=npo", "scheduler=gen"),
    "micro-batches": ("method=ngdiff", "training.micro_batch_size=2", *DESCENT),
    "one row for two": ("method=graddiff", "training.batch_size=1", *DESCENT),
    "sam and sago": ("method=graddiff", "method/interventions=[sam,sago]", *DESCENT),
}
QUICKLY = ("gen", "micro-batches")
"""Those that are no slow test."""
KINDS = ("ddp", "fsdp")


def cases() -> list[object]:
    return [
        pytest.param(
            name, kind, id=f"{name}-{kind}", marks=[] if name in QUICKLY else [pytest.mark.slow]
        )
        for name in METHODS
        for kind in KINDS
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Done]:
    """The run of one process."""
    place = Command(tmp_path_factory.mktemp("alone"))

    @cache
    def run(name: str) -> Done:
        done = place(*RUN, *METHODS[name])
        assert done.status == 0, done.said
        return done

    return run


@pytest.mark.parametrize(("name", "kind"), cases())
def test_two_processes_give_the_numbers_of_one(
    alone: Callable[[str], Done], tmp_path: Path, name: str, kind: str
) -> None:
    expected = alone(name)
    words = (*RUN, *METHODS[name], f"training.sharding={kind}")
    done, other = Together(2, *words, cwd=tmp_path).finish()
    assert (done.status, other.status) == (0, 0), done.said + other.said
    assert other.said == ""  # the terminal is rank 0's
    assert len(done.steps) == 10
    apart = {k: v for k, v in differences(expected, done).items() if v > 1e-5}
    assert apart == {}
    assert between_weights(expected, done) < 1e-5
    assert {k: v for k, v in metrics_apart(expected, done).items() if v > 1e-4} == {}
    assert done.summary["cost"]["tokens"] == expected.summary["cost"]["tokens"]
