"""From the bytes of a file to its text, whatever program saved it."""

from __future__ import annotations

import codecs
import re

from unlearn.data.telling import shown
from unlearn.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),  # spreadsheets put it first
    (codecs.BOM_UTF32_LE, "utf-32"),  # ahead of UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_USED = (
    *("cp932", "euc_jp", "iso2022_jp", "gb18030", "big5", "cp949", "utf_16_le", "utf_16_be"),
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
)
"""Encodings that are looked for: those that Windows and Excel save in, and Unicode without a mark.

Of all that Python has, those of DOS would often be taken for them: "J³rgen" is text as well.
"""


def encoding_problem(encoding: str) -> str | None:
    """Return why no text can be read in an encoding; None for one of Python's."""
    try:
        known = codecs.lookup(encoding)._is_text_encoding  # rot13 and zip are none
    except (LookupError, ValueError):
        known = False
    if known:
        return None
    return (
        f"data.encoding={shown(encoding)}: no such encoding of text; give one of "
        "Python's, such as utf-8, utf-16, cp932, cp1252 or gb18030, or null."
    )


def decode(data: bytes, source: str, encoding: str | None = None) -> tuple[str, str | None]:
    """Return the text of a file and the encoding it was read as, None where that is plain UTF-8.

    A byte order mark decides, then UTF-8, then what charset-normalizer finds most likely. Raises
    DataError for a file that is UTF-8 but for some bytes, that no encoding makes a text of, or that
    several encodings make equally good texts of: `encoding` names the right one then.
    """
    if encoding is not None:
        return _named(data, source, encoding), encoding
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _named(data, source, name), None if name == "utf-8-sig" else name
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        place = f"{source}:{line}"
        # A text of another encoding is rarely UTF-8 in more places than it is not.
        broken = data.decode("utf-8", "replace").count("\ufffd")
        if len(re.findall(r"[^\x00-\x7f]", data.decode("utf-8", "ignore"))) > broken:
            raise DataError(
                f"{place}: not UTF-8 text, although the rest of the file is; mend the line, or "
                "name the encoding with data.encoding=…"
            ) from error
        return _likely(data, place)
    return _likely(data, f"{source}:1") if "\0" in text else (text, None)


def _named(data: bytes, source: str, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as error:
        raise DataError(
            f"{source}: not {encoding} text ({error}); save the file as UTF-8."
        ) from error


def _likely(data: bytes, place: str) -> tuple[str, str]:
    from charset_normalizer import from_bytes

    if bytes(4) in data:  # of no text in whatever encoding, and long in all of them
        raise DataError(
            f"{place}: zero bytes in a row, so no text; the file is damaged, get it anew."
        )
    matches = list(from_bytes(data, cp_isolation=list(_USED)))
    if not matches:
        raise DataError(
            f"{place}: not UTF-8 text, nor that of another encoding that can be told; save the "
            "file as UTF-8, or name the encoding with data.encoding=…"
        )
    best = matches[0]
    tied = [m for m in matches if (m.chaos, m.coherence) == (best.chaos, best.coherence)]
    names = [_usual_name(match.could_be_from_charset) for match in tied]
    kana = [n for n, m in zip(names, tied, strict=True) if re.search("[ぁ-ヿ]", str(m))]
    if len(names) == 1 or len(kana) == 1:
        chosen = (kana or names)[0]  # Japanese has kana, and other bytes taken for it have none
    elif best.coherence and "cp1252" in names:
        chosen = "cp1252"
    else:
        raise DataError(
            f"{place}: not UTF-8 text, and too little to tell {', '.join(names[:4])} apart; save "
            "the file as UTF-8, or name the encoding with data.encoding=…"
        )
    return data.decode(chosen), chosen


def _usual_name(names: list[str]) -> str:
    return next((name for name in _USED if name in names), names[0])
