"""How a word of the command line is written that Hydra's grammar does not take as it is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException


def quoted_form(override: str, words: Sequence[str] = ()) -> str | None:
    """Return the override with its value as one string, for a shell; None where that is no help.

    A word without "=" is taken for the rest of the one before it in `words`, as the shell cuts
    `data.forget=My Files/x.jsonl` in two.
    """
    if "=" not in override and override in words:
        first = last = list(words).index(override)
        while first and "=" not in words[first]:
            first -= 1
        while last + 1 < len(words) and "=" not in words[last + 1]:
            last += 1
        if not re.search(r"[./\\]", "".join(words[first + 1 : last + 1])):
            return None  # no part of a path but a word that nobody asked for
        override = " ".join(words[first : last + 1])
    name, equals, value = override.partition("=")
    if not equals or not name or not value:
        return None
    for quote in '"', "'":
        form = f"{name}={in_quotes(value, quote)}"
        if _value(form) == value:
            return shlex.quote(form)
    return None


def in_quotes(text: str, quote: str = '"') -> str:
    """Return a text as a string of Hydra's grammar, in which only quotes are escaped.

    A backslash is itself but ahead of a quote, the closing one included.
    """
    inner = re.sub(rf"(\\*)({quote}|$)", lambda found: found[1] * 2 + _escaped(found[2]), text)
    return f"{quote}{inner}{quote}"


def _escaped(quote: str) -> str:
    return f"\\{quote}" if quote else ""


def _value(form: str) -> object:
    try:
        return OverridesParser.create().parse_override(form).value()
    except HydraException:
        return None
