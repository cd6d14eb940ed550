"""How groups are told apart in pictures: by colour and by symbol, so that either is enough."""

from __future__ import annotations

from typing import NamedTuple

from unlearn.report.drawing import FORGET, REFERENCE, RETAIN

# Okabe & Ito's colours without yellow, which a white page swallows.
COLOURS = (RETAIN, FORGET, REFERENCE, "#CC79A7", "#56B4E9", "#B07800", "#5B4B8A")
SYMBOLS = (
    ("o", "circle", "M6 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9z"),
    ("s", "square", "M2 2h8v8h-8z"),
    ("^", "triangle-up", "M6 1l5.2 9.5h-10.4z"),
    ("D", "diamond", "M6 .3l5.2 5.7l-5.2 5.7l-5.2-5.7z"),
    ("v", "triangle-down", "M6 11l5.2-9.5h-10.4z"),
    ("P", "cross", "M4.3 1h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z"),
    (
        "X",
        "x",
        "M3.3 1l2.7 2.7l2.7-2.7l2.3 2.3l-2.7 2.7l2.7 2.7l-2.3 2.3l-2.7-2.7l-2.7 2.7l-2.3-2.3"
        "l2.7-2.7l-2.7-2.7z",
    ),
    ("p", "pentagon", "M6 .8l5.3 3.9l-2 6.2h-6.6l-2-6.2z"),
    ("<", "triangle-left", "M1 6l9.5-5.2v10.4z"),
    (">", "triangle-right", "M11 6l-9.5-5.2v10.4z"),
)
"""matplotlib's and plotly's name of each, and its path in a box of 12 by 12; the star is the
reference's."""
DASHES = (("solid", "none"), ("dash", "5 2"), ("dot", "1.5 1.5"), ("dashdot", "5 1.5 1.5 1.5"))
"""plotly's name of each, and the lengths of lines and gaps in such a box."""


class Style(NamedTuple):
    """The look of one group."""

    colour: str
    marker: str
    symbol: str
    path: str
    dash: str
    gaps: str


def style(place: int) -> Style:
    """Return the look of the group at `place`; 70 looks differ before the first comes again."""
    symbol, dash = SYMBOLS[place % len(SYMBOLS)], DASHES[place // len(COLOURS) % len(DASHES)]
    return Style(COLOURS[place % len(COLOURS)], *symbol, *dash)
