"""Texts in which there is nothing to see, whatever they are made of."""

from __future__ import annotations

import regex

# Default ignorable are, among others, spaces of no width, joiners, marks of direction, fillers of
# Hangul and selectors of a variant; the empty cell of Braille (U+2800) is none, and as empty.
_VISIBLE = regex.compile(r"[^\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]")


def is_blank(text: str) -> bool:
    """Return whether a text has no character that anybody could see."""
    return _VISIBLE.search(text) is None
