"""What a run needs to go on where it was cut: whole or absent, and only the newest of it.

`checkpoints/step_N` is a folder that loads with `from_pretrained` (peft's, where an adapter is all
that is trained), with `state.pt` beside the weights: optimizer, scheduler, weighting, counters,
random generators. Where every process holds a part of the model, each writes its part of weights
and optimizer in place of it (:mod:`unlearn.storage.sharded`). A run that goes on from it takes the
same steps, bit for bit, as one that was never cut. Every file is known by its hash; a checkpoint
with one that is not as it was written is named and never gone on from.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unlearn.compute.model import LanguageModel
from unlearn.compute.processes import gathered, is_main, total
from unlearn.compute.sharding import fill_, is_sharded_model, local
from unlearn.errors import UnlearnError
from unlearn.storage.files import write_json_atomic
from unlearn.storage.sealed import damage_of
from unlearn.storage.sharded import STATE, save_in_parts
from unlearn.storage.weights import Savable, save_model, save_state

log = logging.getLogger(__name__)

FOLDER = "checkpoints"
PROGRESS = "progress.json"
STEP, BEST = re.compile(r"step_\d+"), re.compile(r"best_\d+")


class Checkpoints:
    """Writes `checkpoints/step_N` by steps and by minutes, and keeps the newest N alone."""

    def __init__(
        self, run: Path, model: Savable, tokenizer: Any, every: int, minutes: float | None
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
        by_minutes = self.minutes is not None and any(total(int(waited >= self.minutes)))
        return by_minutes or bool(self.every and done % self.every == 0)

    def save(self, done: int, state: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        """Write the model, `state` and `progress` (:func:`read_progress`); the older one goes."""
        new, older = self._place(done), self.newest

        def write_progress(folder: Path) -> None:
            write_json_atomic(folder / PROGRESS, progress)

        def write_state(folder: Path) -> None:
            save_state(state, folder / STATE)
            write_progress(folder)

        if is_sharded_model(self.model):
            save_in_parts(new, self.model, state, write_progress)
        else:
            save_model(self.model, self.tokenizer, new, write_state)
        self.newest, self._saved = new, time.monotonic()
        if older is not None and older != new and is_main():
            shutil.rmtree(older)

    def save_at_stop(
        self, done: int, state: Mapping[str, Any], progress: Mapping[str, Any]
    ) -> None:
        """Write both whatever the configuration asks for, as the run was told to stop here.

        Not where that is what it began with, nor weights that no run could go on from.
        """
        weights = (local(weight) for weight in self.model.parameters())
        finite = all(gathered(all(bool(torch.isfinite(weight).all()) for weight in weights)))
        if finite and self.newest != self._place(done):
            self.save(done, state, progress)

    def where(self) -> str:
        """Say where the last good state lies."""
        if self.newest is None:
            return "No state was kept yet; the target itself is untouched"
        return f"The last good state lies in {self.newest}"

    def _place(self, done: int) -> Path:
        return self.folder / f"step_{done}"


def newest_of(run: Path) -> Path | None:
    """Return the newest checkpoint of a run folder, or None; each one that is there is whole."""
    return max(_named(run, STEP), key=steps_of, default=None)


def sound_checkpoint(run: Path) -> Path | None:
    """Return the newest checkpoint whose files are as they were written; None without one.

    A broken one is removed, and one line names it and says what the run does instead.
    """
    problems = []
    while (newest := newest_of(run)) is not None and (damage := _damage(run, newest)):
        problems.append(f"{newest} is broken ({damage})")
        shutil.rmtree(newest) if newest.is_dir() else newest.unlink()
    if problems:
        then = f"goes on from {newest.name}, which is older" if newest else "begins anew"
        log.warning("%s and is removed; the run %s", ", ".join(problems), then)
    return newest


def _damage(run: Path, checkpoint: Path) -> str | None:
    """Return what is wrong with a checkpoint, or with the best state that it counts on."""
    if damage := damage_of(checkpoint):
        return damage
    best = read_progress(checkpoint)["best"]
    if best is None:
        return None
    place = run / FOLDER / f"best_{best}"
    if place.exists():
        damage = damage_of(place)
        return f"the best state, {place.name}: {damage}" if damage else None
    # A better one took its place after this checkpoint; the steps that lead there come again.
    if any(steps_of(other) >= steps_of(checkpoint) for other in _named(run, BEST)):
        return None
    return f"the best state, {place.name}, is missing"


def _named(run: Path, name: re.Pattern[str]) -> list[Path]:
    return [path for path in (run / FOLDER).glob("*") if name.fullmatch(path.name)]


def steps_of(checkpoint: Path | None) -> int:
    """Return the steps done at a checkpoint, which its name tells; 0 where there is none."""
    return 0 if checkpoint is None else int(checkpoint.name.rpartition("_")[2])


def read_progress(checkpoint: Path) -> dict[str, Any]:
    """Return what is asked of a checkpoint before a model loads.

    `lines` and `sha256`: how many lines the record held, and their hash; `best`: the step of the
    best state so far, null where there is none.
    """
    return json.loads((checkpoint / PROGRESS).read_text(encoding="utf-8"))


@torch.no_grad()
def copy_weights(model: LanguageModel, saved: LanguageModel) -> None:
    """Give `model` the weights of `saved`, bit by bit; one that is sharded those of rank 0's.

    Raises UnlearnError where the two are not of one shape.
    """
    ours, theirs = dict(model.named_parameters()), dict(saved.named_parameters())
    if {n: p.shape for n, p in ours.items()} != {n: p.shape for n, p in theirs.items()}:
        raise UnlearnError("the saved weights belong to another model than the one of this run")
    if is_sharded_model(model):
        fill_(ours.items(), theirs)
        return
    for name, parameter in ours.items():
        parameter.copy_(theirs[name])
