"""Which interpolations of a record may be looked up: those that name options and places of files.

A configuration that somebody types may ask for anything in their environment. A recorded one is
data, of which nobody knows who wrote it, and what it asks for would stand in our records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

HARMLESS = re.compile(
    r"\$\{\.*[A-Za-z_][\w.]*\}"  # another option, as in ${seed} or ${model.fine_tuning.lr}
    r"|\$\{oc\.env:UNLEARN_(?:TOFU|MUSE|SMOLLM2|WMDP|WMDP_CORPORA|LUME|RWKU|KNOWUNDO)_PATH"
    r"(?:,[^${}]*)?\}"
    r"|\$\{unlearn_cache:[\w/-]+,[\w./-]*\}"
)
"""What a record may hold: the interpolations of our own presets."""


def is_harmless(text: str) -> bool:
    """Return whether a text holds no interpolation but those of :data:`HARMLESS`.

    ``$`` and ``{`` are enough to refuse it: an escape between them goes in a later reading.
    """
    left = text
    while (shorter := HARMLESS.sub("", left)) != left:
        left = shorter  # from inside: one of a preset may be the default of another
    return "$" not in left or "{" not in left


def masked(config: Any) -> Any:
    """Return a recorded configuration in which only harmless interpolations are left to look up."""
    if isinstance(config, str):
        return config if is_harmless(config) else config.replace("{", " {").replace("$", "$ ")
    if isinstance(config, Mapping):
        return {key: masked(value) for key, value in config.items()}
    return [masked(value) for value in config] if isinstance(config, list) else config


def texts_of(config: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a configuration with its place."""
    if isinstance(config, str):
        yield place, config
    for name, value in inside(config, place):
        yield from texts_of(value, name)


def nodes_of(config: Any, place: str = "") -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield every mapping of a configuration with its place, the outermost first."""
    if isinstance(config, Mapping):
        yield place, config
    for name, value in inside(config, place):
        yield from nodes_of(value, name)


def inside(config: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield what lies directly in a mapping or list, with its place."""
    if isinstance(config, Mapping):
        yield from ((f"{place}.{key}".lstrip("."), value) for key, value in config.items())
    elif isinstance(config, list):
        yield from ((f"{place}[{number}]", value) for number, value in enumerate(config))
