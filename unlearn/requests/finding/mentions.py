"""What every way of finding a name returns, and what each is worth."""

from __future__ import annotations

from typing import NamedTuple


class Mention(NamedTuple):
    """A place of a folded text that names the subject, or may."""

    start: int
    end: int
    kind: str
    name: str
    """The spelling of the subject that it is held for."""
    told: str
    """The words as they stand in the row."""
    changed: tuple[str, ...] = ()
    """Of a misspelling, the words that are not the subject's, folded."""


ORDER = (
    *("exact", "order", "misspelt", "ending", "initials", "turned", "between", "without"),
    *("double", "suffix", "short", "within"),
)
"""The kinds, the surest first: of two mentions that overlap, the first is kept."""
SURE = ("exact", "order")
"""Kinds that name the subject; a misspelling may, the others leave it open."""


def apart(mentions: list[Mention]) -> list[Mention]:
    """Return mentions of which no two overlap, the surer and longer of each two."""
    kept: list[Mention] = []
    for one in sorted(mentions, key=lambda m: (ORDER.index(m.kind), m.start - m.end, m.start)):
        if all(one.end <= other.start or other.end <= one.start for other in kept):
            kept.append(one)
    return sorted(kept)


def reason(mention: Mention) -> str:
    """Say in one sentence what a mention is."""
    told, name = mention.told, mention.name
    return {
        "exact": f"names the subject: “{told}”",
        "order": f"names the subject, family name first: “{told}”",
        "misspelt": f"names “{told}”, which is “{name}” misspelt, or another person",
        "ending": f"names “{told}”: “{name}” in another form, misspelt, or another person",
        "initials": f"names “{told}”: initials fit {name}, and others too",
        "turned": f"names “{told}”, the words of “{name}” the other way round without a comma",
        "between": f"names “{told}”: {name} with a further name, or another person",
        "without": f"names “{told}”, a part of “{name}”",
        "double": f"names “{told}”: a double name may be another person's",
        "suffix": f"names “{told}”: the addition may make it another person",
        "short": f"has “{told}”, a short name that may be another word here",
        "within": f"has “{told}” within a longer run of letters, which may be another word",
    }[mention.kind]
