"""Texts as they are compared: one form for every way of writing the same letters.

NFKC, case folding and no marks: "Ｊｏｓé" is "jose". Marks that are letters stay: the vowels of
Devanagari and Thai, the voicing of kana. Of Arabic and Hebrew the points go, and letters that
writers exchange (alef with hamza, yeh and alef maksura, teh marbuta and heh) become one; so do the
old and new forms of the characters in Japanese names (邊, 邉 and 辺).
"""

from __future__ import annotations

import re
import unicodedata

import regex

_UNSPACED = (
    "["
    + "".join(
        rf"\p{{Script={name}}}"
        for name in ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
    )
    + "ー]"
)
UNSPACED = regex.compile(rf"(?V1)[{_UNSPACED}&&[\p{{L}}\p{{N}}\p{{M}}]]")
"""A letter of a script that is written without spaces."""
_TOKEN = regex.compile(
    rf"(?V1)[[\p{{L}}\p{{N}}\p{{M}}]--{_UNSPACED}]+|[{_UNSPACED}&&[\p{{L}}\p{{N}}\p{{M}}]]+"
)
_ASCII = re.compile(r"[a-z0-9]+")
_DROPPED = regex.compile(
    r"(?V1)[[\p{Mn}]&&[\p{Script=Inherited}\p{Script=Hebrew}\p{Script=Arabic}]]"
)
_VOICED = "\u3099\u309a"
_LETTERS = {
    **{"ı": "i", "ø": "o", "đ": "d", "ł": "l", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"},
    **{"\u0640": "", "ى": "ي", "ی": "ي", "ک": "ك", "ة": "ه", "ٱ": "ا", "ہ": "ه"},
}
_FORMS = (
    *("辺邊邉", "斎齋斉齊", "高髙", "崎﨑嵜", "沢澤", "浜濱濵", "広廣", "国國", "桜櫻", "竜龍龙"),
    *("恵惠", "真眞", "島嶋嶌", "富冨", "吉𠮷", "栄榮", "万萬", "学學", "実實", "関關"),
    *("条條", "会會", "静靜", "円圓", "亀龜", "黒黑", "徳德", "瀬瀨", "槙槇"),
    *("张張", "刘劉", "陈陳", "杨楊", "赵趙", "吴吳", "郑鄭", "孙孫", "马馬", "罗羅", "谢謝"),
    *("许許", "邓鄧", "冯馮", "萧蕭", "叶葉", "苏蘇", "卢盧", "钟鐘", "陆陸", "伟偉", "丽麗"),
    *("华華", "军軍", "强強", "杰傑", "涛濤", "红紅", "兰蘭", "凤鳳", "晓曉"),
)
"""Forms of one character in names, the usual one first; of Chinese, the simplified one."""


class _Folded(dict[int, str]):
    """For `str.translate`: what becomes of a character that is composed and case-folded."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if unicodedata.category(char) == "Cf" and code != 0x200B:  # which parts words
            self[code] = ""
        elif char in _LETTERS:
            self[code] = _LETTERS[char]
        else:
            parts = unicodedata.normalize("NFD", char)
            kept = "".join(part for part in parts if not _goes(part))
            self[code] = unicodedata.normalize("NFC", kept)
        return self[code]


def _goes(char: str) -> bool:
    if char in _VOICED:
        return False
    return _DROPPED.match(char) is not None or "NUKTA" in unicodedata.name(char, "")


_FOLDED = _Folded()
for _forms in _FORMS:
    _FOLDED.update({ord(form): _forms[0] for form in _forms})


def fold(text: str) -> str:
    """Return a text in the form in which texts are compared."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    if not unicodedata.is_normalized("NFC", folded):
        folded = unicodedata.normalize("NFC", folded)
    folded = folded.translate(_FOLDED)
    return _VU.sub(_bu, folded) if "ヴ" in folded else folded


_VU = re.compile("ヴ([ァィェォ]?)")
_BU = {"": "ブ", "ァ": "バ", "ィ": "ビ", "ェ": "ベ", "ォ": "ボ"}


def _bu(found: re.Match[str]) -> str:
    """Write a v of katakana as the b that others write for it."""
    return _BU[found[1]]


def tokens_of(folded: str) -> list[str]:
    """Return the words of a folded text; of scripts without spaces, whole runs of letters."""
    if not folded.isascii() and max(folded) >= "\u0e00":
        return _TOKEN.findall(folded)
    return folded.translate(_PARTED).split()


class _Parted(dict[int, int]):
    """For `str.translate`: a space for what is no part of a word; four times as fast as _TOKEN."""

    def __missing__(self, code: int) -> int:
        self[code] = code if _TOKEN.match(chr(code)) else 0x20
        return self[code]


_PARTED = _Parted()


def spans_of(folded: str) -> list[tuple[int, int]]:
    """Return where the words of :func:`tokens_of` begin and end."""
    pattern = _ASCII if folded.isascii() else _TOKEN
    return [found.span() for found in pattern.finditer(folded)]


def is_unspaced(token: str) -> bool:
    """Whether a word is a run of letters of a script without spaces."""
    return token[0] >= "\u0e00" and UNSPACED.match(token) is not None


def written(text: str, count: int) -> list[tuple[int, int]] | None:
    """Return where the words of a text stand before it is folded; None where they are not `count`.

    Letters that fold to nothing stand within a word; where composing changes the number of words,
    nobody can say which is which.
    """
    spans = [found.span() for found in _WRITTEN.finditer(text)]
    return spans if len(spans) == count else None


_WRITTEN = regex.compile(
    rf"(?V1)[[\p{{L}}\p{{N}}\p{{M}}[\p{{Cf}}--[\u200B]]]--{_UNSPACED}]+"
    rf"|[{_UNSPACED}&&[\p{{L}}\p{{N}}\p{{M}}]]+"
)
