"""The last good state of a model while it is trained: whole or absent, and only one of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from unlearn.models.store import save_model


class LastGood:
    """Keeps `checkpoints/step_N`, a folder that loads with `from_pretrained`, for the newest N."""

    def __init__(self, run: Path, model: Any, tokenizer: Any, every: int) -> None:
        self.folder, self.every = run / "checkpoints", every
        self.model, self.tokenizer = model, tokenizer
        self.newest: Path | None = None

    def __call__(self, done: int) -> None:
        """Save the weights after `done` steps, if their turn has come."""
        if not self.every or not done or done % self.every:
            return
        new, older = self.folder / f"step_{done}", self.newest
        save_model(self.model, self.tokenizer, new)
        self.newest = new
        if older is not None:
            shutil.rmtree(older)

    def where(self) -> str:
        """Say where the last good state lies."""
        if self.newest is None:
            return "No state was kept yet; the target itself is untouched"
        return f"The last good state lies in {self.newest}"

    def remove(self) -> None:
        """Remove the folder at the end of a run that completed."""
        shutil.rmtree(self.folder, ignore_errors=True)
