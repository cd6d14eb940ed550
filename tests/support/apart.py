"""The memory of a step, measured in a process of its own that need not import anything anew."""

from __future__ import annotations

import json
import os
from pathlib import Path

from support.forked import forked, settle, speak_into


def _measure(shape: str, recipe: str, said: str) -> None:
    settle(str(Path(said).parent), dict(os.environ))
    speak_into(said)
    from benchmarks.memory import SHAPES, give_back_at_once, measure
    from unlearn.training.recipes import RECIPES

    recipes = {one.name: one for one in RECIPES}
    give_back_at_once()
    print(json.dumps(measure(*SHAPES[shape], recipes[recipe])), flush=True)


def measured_apart(shape: str, recipe: str, folder: Path) -> dict[str, int]:
    """Return what :func:`benchmarks.memory.measure` finds in a process of its own."""
    process = forked(_measure, shape, recipe, str(folder / "said"))
    process.join()
    assert process.exitcode == 0, (folder / "said.err").read_text(encoding="utf-8")
    found: dict[str, int] = json.loads((folder / "said.out").read_text(encoding="utf-8"))
    return found
