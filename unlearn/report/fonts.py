"""Names in any script on a figure: a font that has their letters, or a mark that says so.

matplotlib draws a letter that its font lacks as a box, with a warning for each.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import TYPE_CHECKING

from unlearn.console.once import say_once
from unlearn.console.visible import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

UNSHOWN = "?"
"""What stands for a letter that no font of this machine has."""
BOXES = "Last Resort"
"""A font for every letter, which shows each as a box with the name of its block."""


def make_legible(figure: Figure) -> None:
    """Give every text of the figure fonts that have its letters; call it before saving.

    Letters that no font has become "?", and one line says so. A dollar sign is one: matplotlib
    would read what stands between two of them as a formula.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        words = visible(re.sub(r"[^\S\n]", " ", given := text.get_text()))
        if words != given:
            text.set_text(words)
        if not words or words.isascii():
            if "$" in words and "\\mathdefault" not in words:
                text.set_parse_math(False)
            continue
        text.set_parse_math(False)
        first = str(text.get_fontfamily()[0])
        families, unshown = families_for(words, first)
        if unshown:
            shown = "".join(UNSHOWN if letter in unshown else letter for letter in words)
            text.set_text(shown)
            say_once(
                log,
                f"figures: no font here has {listed(unshown)}, shown as {UNSHOWN}; install one, "
                "such as Noto Sans of that script (pages and tables show every letter)",
            )
        text.set_fontfamily(list(families))


@cache
def families_for(words: str, first: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return font families, `first` before the others, and the letters that none of them has."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    missing = {letter for letter in words if not letter.isspace()}
    missing -= letters_of(findfont(FontProperties(family=[first])))
    families = [first]
    for font in fontManager.ttflist:
        if not missing:
            break
        if font.name.startswith(BOXES) or font.name in families:
            continue
        found = missing & letters_of(font.fname)
        if found:
            families.append(font.name)
            missing -= found
    return tuple(families), frozenset(missing)


@cache
def letters_of(path: str) -> frozenset[str]:
    """Return every letter that the font in this file draws."""
    from matplotlib.ft2font import FT2Font

    return frozenset(map(chr, FT2Font(path).get_charmap()))


def listed(letters: frozenset[str], most: int = 8) -> str:
    """Return the first letters in order, for a line of the log."""
    return " ".join(sorted(letters)[:most]) + (" …" if len(letters) > most else "")
