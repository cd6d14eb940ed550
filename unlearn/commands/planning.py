"""The flag `unlearn --plan WORDS…`: the memory that a run needs, by recipe, before anything loads.

Exit status 0; 2 for a configuration that no run could have.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Literal

from unlearn.composition.explain import COMPOSING, explained
from unlearn.composition.register import register
from unlearn.console.visible import say
from unlearn.errors import ConfigurationError

COLUMNS = ("recipe", "weights", "gradients", "optimizer", "activations", "peak", "fits")
WIDTH = 100
"""Columns where no terminal tells."""


def plan(words: Sequence[str]) -> int:
    """Print what a step of the run with these words holds at its peak; returns the exit status."""
    from hydra import compose, initialize_config_module

    from unlearn.experiment.settings import settings_of

    register()
    words = [word for word in words if word != "--plan"]
    try:
        with initialize_config_module("unlearn.conf", version_base="1.3"):
            cfg = compose("config", overrides=list(words))
        show(settings_of(cfg, words))
    except ConfigurationError as error:
        say(f"unlearn: {error}", sys.stderr)
        return error.exit_status
    except COMPOSING as error:
        say(f"unlearn: {explained(error)}", sys.stderr)
        return ConfigurationError.exit_status
    return 0


def show(settings: object) -> None:
    """Print the table of recipes and what it counts."""
    from rich.console import Console
    from rich.table import Table

    from unlearn.compute.device import memory_there, resolve_device
    from unlearn.experiment.fitting import card_for, plans
    from unlearn.experiment.settings import Settings

    assert isinstance(settings, Settings)
    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        justify: Literal["left", "right"] = "left" if column == "recipe" else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    words, offloaded = [], 0
    for recipe, found in plans(settings):
        if found is None:
            table.add_row(recipe.name, "this model cannot have it")
            continue
        kept = found.weights + found.target, sum(found.gradients), found.optimizer
        sizes = [in_gigabytes(size) for size in (*kept, found.activations, found.peak)]
        table.add_row(recipe.name, *sizes, card_for(found.peak))
        offloaded = offloaded or found.offloaded  # of the first, which is what was asked for
        words += [f"{recipe.name}: {' '.join(recipe.words)}"] if recipe.words else []
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table)
    console.print(*words, sep="\n", soft_wrap=True)
    if not settings.training.offload_activations:
        console.print(
            "training.offload_activations=true leaves of the first line's activations "
            f"{in_gigabytes(offloaded)}",
            soft_wrap=True,
        )
    room, name = memory_there(resolve_device(settings.model.device)[0])
    console.print(
        f"GB (10⁹ bytes) a device; {name} has {in_gigabytes(room)}. Activations are those of the "
        "longest rows that may come (model.max_length, half of it answer), of one micro-batch.",
        soft_wrap=True,
    )


def in_gigabytes(size: int) -> str:
    """Return bytes in GB (10⁹ bytes) with three significant digits, and no exponent."""
    if size <= 0:
        return "0"
    places = 2 - math.floor(math.log10(size / 1e9))
    return f"{size / 1e9:.{max(0, places)}f}"
