"""What a run needs to go on where it was cut: whole or absent, and only the newest of it.

`checkpoints/step_N` is a folder that loads with `from_pretrained`, with `state.pt` beside the
weights: optimizer, scheduler, weighting, counters, random generators. A run that goes on from it
takes the same steps, bit for bit, as one that was never cut.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unlearn.compute.model import LanguageModel
from unlearn.errors import UnlearnError
from unlearn.storage.weights import save_model

FOLDER = "checkpoints"
STATE = "state.pt"


class Checkpoints:
    """Writes `checkpoints/step_N` by steps and by minutes, and keeps the newest N alone."""

    def __init__(
        self, run: Path, model: LanguageModel, tokenizer: Any, every: int, minutes: float | None
    ) -> None:
        self.folder, self.every, self.minutes = run / FOLDER, every, minutes
        self.model, self.tokenizer = model, tokenizer
        self.newest = newest_of(run)
        self._saved = time.monotonic()

    @property
    def wanted(self) -> bool:
        """Whether the configuration asks for any."""
        return bool(self.every) or self.minutes is not None

    def due(self, done: int) -> bool:
        """Return whether the state after `done` steps is to be saved."""
        if not done or not self.wanted or self.newest == self._place(done):
            return False
        waited = (time.monotonic() - self._saved) / 60
        by_minutes = self.minutes is not None and waited >= self.minutes
        return by_minutes or bool(self.every and done % self.every == 0)

    def save(self, done: int, state: Mapping[str, Any]) -> None:
        """Write the model and `state`; then the older one goes."""
        new, older = self._place(done), self.newest
        save_model(
            self.model,
            self.tokenizer,
            new,
            lambda folder: torch.save(dict(state), folder / STATE),
        )
        self.newest, self._saved = new, time.monotonic()
        if older is not None and older != new:
            shutil.rmtree(older)

    def save_at_stop(self, done: int, state: Mapping[str, Any]) -> None:
        """Write `state` whatever the configuration asks for, as the run was told to stop here.

        Not where that is what it began with, nor weights that no run could go on from.
        """
        finite = all(torch.isfinite(weight).all() for weight in self.model.parameters())
        if finite and self.newest != self._place(done):
            self.save(done, state)

    def where(self) -> str:
        """Say where the last good state lies."""
        if self.newest is None:
            return "No state was kept yet; the target itself is untouched"
        return f"The last good state lies in {self.newest}"

    def _place(self, done: int) -> Path:
        return self.folder / f"step_{done}"


def newest_of(run: Path) -> Path | None:
    """Return the newest checkpoint of a run folder, or None; each one that is there is whole."""
    found = [path for path in (run / FOLDER).glob("step_*") if (path / STATE).is_file()]
    return max(found, key=steps_of, default=None)


def steps_of(checkpoint: Path | None) -> int:
    """Return the steps done at a checkpoint, which its name tells; 0 where there is none."""
    return 0 if checkpoint is None else int(checkpoint.name.removeprefix("step_"))


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return what `state.pt` holds: tensors and plain values, nothing that runs code."""
    return torch.load(checkpoint / STATE, weights_only=True, map_location="cpu")


@torch.no_grad()
def copy_weights(model: LanguageModel, saved: LanguageModel) -> None:
    """Give `model` the weights of `saved`, bit by bit.

    Raises UnlearnError where the two are not of one shape.
    """
    ours, theirs = dict(model.named_parameters()), dict(saved.named_parameters())
    if {n: p.shape for n, p in ours.items()} != {n: p.shape for n, p in theirs.items()}:
        raise UnlearnError("the saved weights belong to another model than the one of this run")
    for name, parameter in ours.items():
        parameter.copy_(theirs[name])
