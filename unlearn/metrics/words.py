"""Words of every script: what ROUGE counts where a text is not written in a to z alone.

The package rouge-score keeps a-z and 0-9, so that a Japanese, Arabic or Russian text has no
words at all, and "Müller" and "Möller" are one name.
"""

from __future__ import annotations

import unicodedata

import regex

_SCRIPTS = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
_UNSPACED = r"[[\p{L}\p{N}]&&[" + "".join(rf"\p{{scx={name}}}" for name in _SCRIPTS) + "]]"
_INVISIBLE = r"[\p{Default_Ignorable_Code_Point}--[\u200B]]"
"""Joiners, soft hyphens, direction and variation marks stand within a word and are no part of it.
The zero-width space is left: it parts words."""
_WORD = regex.compile(
    rf"""(?V1x)
    (?P<emoji> (?=[\p{{Extended_Pictographic}}\p{{Emoji_Presentation}}])\X | [0-9\#*]\uFE0F?\u20E3 )
    | {_UNSPACED}[\p{{M}}{_INVISIBLE}]*
    | [[\p{{L}}\p{{N}}]--{_UNSPACED}][[\p{{L}}\p{{M}}\p{{N}}{_INVISIBLE}]--{_UNSPACED}]*
    """
)
_WITHIN = regex.compile(rf"(?V1){_INVISIBLE}+")
_PRESENTATION = regex.compile(r"[\uFE0E\uFE0F]|\u200D$")
"""What says only how an emoji is drawn, or joins it to nothing."""


def words_of(text: str) -> list[str]:
    """Return the words of a text: NFKC, lower case, runs of letters, marks and digits.

    In scripts without spaces (Han, kana, Thai, Lao, Khmer, Burmese) each character is a word, with
    its combining marks. An emoji is a word as a whole grapheme, skin tone, joined figures and flags
    included, whether or not a variation selector follows. On ASCII these are the runs of a-z and
    0-9 that rouge-score takes.
    """
    # Lower case may undo the composition, so it is composed again.
    lowered = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    found = (
        _PRESENTATION.sub("", match[0]) if match["emoji"] else _WITHIN.sub("", match[0])
        for match in _WORD.finditer(lowered)
    )
    return [word for word in found if word]
