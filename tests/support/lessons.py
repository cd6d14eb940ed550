"""A small model that learns its rows: in this process, or in several that share it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from support import tiny
from support.ranks import in_ranks
from unlearn.compute.processes import is_main, joined
from unlearn.compute.sharding import state_of
from unlearn.models import fine_tune
from unlearn.models.load import ready
from unlearn.options.schema import FineTuningConfig, ModelConfig, Sharding


class Stopped(Exception):
    """The end of a lesson, as a test makes it."""


@dataclass(frozen=True)
class Lesson:
    """How a model learns, and before which batch it is cut."""

    recipe: FineTuningConfig
    sharding: Sharding = Sharding.none
    state: Path | None = None
    stop_at: int | None = None

    def learn(self, result: Path) -> None:
        """Learn; leave the weights and what is known of them as `result`, unless it is cut."""
        learn, batches = fine_tune.learn_batch, []
        compute = tiny.COMPUTE.shared(self.sharding)
        model = ready(tiny.model(), ModelConfig(), compute)

        def counted(*told: Any) -> tuple[int, int]:
            batches.append(1)
            if len(batches) == self.stop_at:
                raise Stopped
            return learn(*told)

        with pytest.MonkeyPatch.context() as patch, suppress(Stopped):
            patch.setattr(fine_tune, "learn_batch", counted)
            patch.setattr(fine_tune, "KEEP_MINUTES", 0.0)
            rows = tiny.examples()
            learned = fine_tune.fine_tune(model, rows, self.recipe, compute, "it", self.state)
            weights = {name: weight.detach() for name, weight in state_of(model).items()}
            if is_main():
                save_file({name: w.clone() for name, w in weights.items()}, result)
                known = json.dumps({**asdict(learned), "batches": len(batches)})
                result.with_suffix(".json").write_text(known, encoding="utf-8")


def known(result: Path) -> dict[str, Any]:
    """How well a model learnt, and by how many batches of this attempt."""
    return json.loads(result.with_suffix(".json").read_text(encoding="utf-8"))


def apart(one: Path, other: Path) -> float:
    """‖a − b‖ / ‖a‖ over all weights of two results."""
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    a, b = (torch.cat([w[name].double().flatten() for name in first]) for w in (first, second))
    return ((a - b).norm() / a.norm()).item()


def _in_turn(folder: Path, lessons: Mapping[str, Lesson]) -> None:
    """Be one process of every lesson, one after the other."""
    with joined():
        for name, lesson in lessons.items():
            lesson.learn(folder / f"{name}.safetensors")


def learnt_together(processes: int, lessons: Mapping[str, Lesson], folder: Path) -> None:
    """Let the same processes take lessons one after the other; their results lie in `folder`."""
    assert in_ranks(processes, _in_turn, folder, lessons) == [0] * processes
