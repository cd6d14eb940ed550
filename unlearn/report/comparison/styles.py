"""How groups are told apart in pictures: by colour and by symbol, so that either is enough."""

from __future__ import annotations

from typing import NamedTuple

from unlearn.report.drawing import FORGET, REFERENCE, RETAIN

# Okabe & Ito's colours without yellow, which a white page swallows.
COLOURS = (RETAIN, FORGET, REFERENCE, "#CC79A7", "#56B4E9", "#B07800", "#5B4B8A")
SYMBOLS = (
    ("o", "circle"),
    ("s", "square"),
    ("^", "triangle-up"),
    ("D", "diamond"),
    ("v", "triangle-down"),
    ("P", "cross"),
    ("X", "x"),
    ("p", "pentagon"),
    ("<", "triangle-left"),
    (">", "triangle-right"),
)
"""matplotlib's and plotly's name of each; the star is the reference's."""
DASHES = ("solid", "dash", "dot", "dashdot")


class Style(NamedTuple):
    """The look of one group."""

    colour: str
    marker: str
    symbol: str
    dash: str


def style(place: int) -> Style:
    """Return the look of the group at `place`; 70 looks differ before the first comes again."""
    marker, symbol = SYMBOLS[place % len(SYMBOLS)]
    dash = DASHES[place // len(COLOURS) % len(DASHES)]
    return Style(COLOURS[place % len(COLOURS)], marker, symbol, dash)
