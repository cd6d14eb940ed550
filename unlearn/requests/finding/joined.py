"""Who else a row names: people joined to the subject by "and" or by a list."""

from __future__ import annotations

from collections.abc import Sequence

import regex

_AND = r"(?:and|&|und|et|y|e|и|och|og|en|i|ve|with|mit|con|avec|και)"
_LINKS = r"(?:\s+(?:van|von|de|da|del|di|al|el|bin)){0,2}"
_PERSON = rf"\p{{Lu}}[\p{{L}}\p{{M}}.’'-]*{_LINKS}(?:\s+\p{{Lu}}[\p{{L}}\p{{M}}’'-]+)+"
_TITLED = r"[\p{Han}\p{Katakana}ー・]{2,8}?(?=さん|氏|様|先生|女士)"


def others_beside(text: str, told: Sequence[str]) -> list[str]:
    """Return the names of others that a row joins to the subject's.

    Names are told by their capitals, in two words at the least, and in Japanese and Chinese by the
    title behind them; elsewhere nothing tells a name from a word.
    """
    found: dict[str, None] = {}
    for name in told:
        words = r"\s+".join(map(regex.escape, name.split()))
        after = regex.compile(
            rf"{words}(?:,\s+({_PERSON}))*,?\s+{_AND}\s+({_PERSON})|{words}[とや、和与]({_TITLED})"
        )
        before = regex.compile(rf"(?:({_PERSON}),?\s+)(?:{_AND}\s+|(?<=,\s){_AND}\s+){words}")
        for pattern in (after, before):
            for one in pattern.finditer(text):
                for group in range(1, (one.re.groups or 0) + 1):
                    found.update(dict.fromkeys(one.captures(group)))
    return [other for other in found if other not in told]
