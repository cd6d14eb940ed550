"""What a row says of the subject: names, numbers, addresses, and what speaks against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import regex

from unlearn.data.telling import few, shown
from unlearn.errors import ConfigurationError
from unlearn.requests.finding.folding import fold, tokens_of
from unlearn.requests.finding.joined import others_beside
from unlearn.requests.finding.mentions import SURE, Mention, apart, reason
from unlearn.requests.finding.spellings import Spellings
from unlearn.requests.finding.subject import EMAIL, Subject
from unlearn.requests.finding.unspaced import Unspaced, is_written_so

PATIENCE = 2.0
"""Seconds that a user's pattern may take for one row."""
_DIGITS = 6
"""Digits from which on a number is found whatever stands between them."""


@dataclass
class Evidence:
    """Why a row is the subject's, why perhaps, and why perhaps not."""

    certain: list[str] = field(default_factory=list)
    """Sentences of which one is enough."""
    perhaps: list[str] = field(default_factory=list)
    against: list[str] = field(default_factory=list)
    kind: str = ""
    spelt: tuple[str, ...] = ()
    """The spellings in the row, for the table of them."""
    changed: tuple[str, ...] = ()
    """Words of a misspelling: whether anybody is called so decides at the end."""
    name: str = ""


class Detector:
    """Finds what is known of a subject in a row."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        spaced = [name for name in subject.names if not is_written_so(name)]
        self.spellings = Spellings(spaced)
        self.unspaced = Unspaced([name for name in subject.names if is_written_so(name)])
        words = [tokens_of(fold(name)) for name in spaced]
        self._last = [tokens[-1] for tokens in words if len(tokens) > 1 and len(tokens[-1]) > 2]
        self._emails = {fold(email.strip()) for email in subject.emails}
        self._ids = [(given, _number(given)) for given in subject.ids]
        self._shapes = [shape for given in subject.ids if (shape := _shape(given))]
        self._patterns = [(given, regex.compile(given)) for given in subject.patterns]
        self._where = [(column, fold(value.strip())) for column, value in subject.where]
        self._about = [(word, _phrase(word)) for word in subject.about]
        self._not_about = [(word, _phrase(word)) for word in subject.not_about]
        self._kept = [(name, _phrase(name)) for name in subject.keep]
        self._ways: list[Callable[[str, str], tuple[str, str] | None]] = []
        if self._emails:
            self._ways.append(self._email)
        if self._ids:
            self._ways.append(self._id)
        if self._patterns:
            self._ways.append(self._pattern)

    @property
    def words(self) -> set[str]:
        """The words by which a row names the subject: they are no facts."""
        given = (*self.subject.names, *self.subject.emails, *self.subject.ids)
        return {token for text in given for token in tokens_of(fold(text))}

    def evidence(
        self, record: Mapping[str, object], text: str, folded: str, tokens: list[str]
    ) -> Evidence | None:
        """Return what a row says of the subject; None for nothing."""
        mentions: list[Mention] = []
        if self.spellings.words and self.spellings.touches(tokens):
            mentions += self.spellings.mentions(text, folded, tokens)
        if self.unspaced.starts and self.unspaced.touches(folded):
            mentions += self.unspaced.mentions(text, folded)
        strong = [found for way in self._ways if (found := way(text, folded))]
        strong += self._column(record)
        if not mentions and not strong:
            return self._family_name(folded, tokens)
        return self._weighed(record, text, folded, apart(mentions), strong)

    def _weighed(
        self,
        record: Mapping[str, object],
        text: str,
        folded: str,
        mentions: list[Mention],
        strong: list[tuple[str, str]],
    ) -> Evidence:
        found = Evidence([told for _, told in strong], kind=strong[0][0] if strong else "")
        sure = [mention for mention in mentions if mention.kind in SURE]
        loose = [mention for mention in mentions if mention.kind not in SURE]
        found.certain += list(dict.fromkeys(map(reason, sure)))[:1]
        if not sure:
            found.perhaps = list(dict.fromkeys(map(reason, loose)))
        known = [word for word, pattern in self._about if pattern.search(folded)]
        if loose and known:
            found.certain += [f"{found.perhaps[0]}, and {_quoted(known)}"] if not sure else []
        if not found.kind:
            found.kind = "name" if sure else loose[0].kind
        found.spelt = tuple(dict.fromkeys(mention.told for mention in mentions))
        if not sure and all(mention.kind == "misspelt" for mention in loose):
            found.changed = tuple(word for mention in loose for word in mention.changed)
            found.name = loose[0].name if loose else ""
        if mentions and not strong and not known:
            found.against += self._contradictions(record, text, folded)
            found.kind = "namesake" if found.against else found.kind
        if others := self._others(text, folded, mentions):
            found.kind = found.kind if found.against else "beside"
            found.against += others
        return found

    def _family_name(self, folded: str, tokens: list[str]) -> Evidence | None:
        """Return a last word of a name beside something that is known of the subject."""
        last = next((word for word in self._last if word in tokens), None)
        known = [w for w, pattern in self._about if pattern.search(folded)] if last else []
        if not known:
            return None
        told = f"has “{last}”, the last word of the subject's name, and {_quoted(known)}"
        return Evidence(perhaps=[told], kind="family")

    def _contradictions(self, record: Mapping[str, object], text: str, folded: str) -> list[str]:
        """Say what makes it somebody else of the same name."""
        told = [
            f"names somebody called so of whom it says “{word}”, which is not the subject"
            for word, pattern in self._not_about
            if pattern.search(folded)
        ]
        if self._emails and (found := EMAIL.findall(text)):
            told.append(
                f"names somebody called so, but the e-mail address is {found[0]} and not the "
                "subject's: perhaps another person of the same name"
            )
        told += [
            f"names somebody called so, but with the number {other[0].upper()} and not the "
            "subject's: perhaps another person of the same name"
            for shape in self._shapes
            if (other := shape.search(folded))
        ]
        for column, value in self._where:
            cell = record.get(column)
            if cell is not None and str(cell).strip() and fold(str(cell).strip()) != value:
                told.append(
                    f"names somebody called so, but {column} is {shown(cell, 40)}: perhaps "
                    "another person of the same name"
                )
        return told

    def _others(self, text: str, folded: str, mentions: list[Mention]) -> list[str]:
        kept = [name for name, pattern in self._kept if pattern.search(folded)]
        if mentions and kept:
            return [f"names the subject beside {few(kept)}, who is to be kept"]
        beside = others_beside(text, [mention.told for mention in mentions])
        if beside:
            return [f"names the subject beside others ({few(beside)}), who would be forgotten too"]
        return []

    def _email(self, text: str, folded: str) -> tuple[str, str] | None:
        if "@" not in folded:
            return None
        mine = [found for found in EMAIL.findall(folded) if found in self._emails]
        return ("email", f"has the e-mail address {mine[0]}") if mine else None

    def _id(self, text: str, folded: str) -> tuple[str, str] | None:
        for given, pattern in self._ids:
            if pattern.search(folded):
                return "id", f"has the number “{given}”"
        return None

    def _pattern(self, text: str, folded: str) -> tuple[str, str] | None:
        for given, pattern in self._patterns:
            try:
                found = pattern.search(text, timeout=PATIENCE)
            except TimeoutError as error:
                raise ConfigurationError(
                    f"--pattern={shown(given)}: over {PATIENCE:g} seconds for the row "
                    f"{shown(text)}; write it without nested + or *"
                ) from error
            if found:
                return "pattern", f"fits the pattern {shown(given, 60)}: “{found[0][:80]}”"
        return None

    def _column(self, record: Mapping[str, object]) -> list[tuple[str, str]]:
        return [
            ("column", f"has {column}={value}")
            for column, value in self._where
            if (cell := record.get(column)) is not None and fold(str(cell).strip()) == value
        ]


def _quoted(words: list[str]) -> str:
    return "has " + few([f"“{word}”" for word in words])


def _phrase(given: str) -> regex.Pattern[str]:
    """Return a pattern of words in their order; in scripts without spaces, of the letters."""
    words = map(regex.escape, tokens_of(fold(given)))
    joined = r"[\W_]*".join(words)
    return regex.compile(joined if is_written_so(given) else rf"(?<!\w){joined}(?!\w)")


def _number(given: str) -> regex.Pattern[str]:
    """Return a pattern of a number or code, in which spaces, dots and dashes may differ."""
    folded = "".join(tokens_of(fold(given)))
    between = r"[\s./()_-]*" if sum(map(str.isdigit, folded)) >= _DIGITS else r"[\s._-]?"
    return regex.compile(rf"(?<!\w){between.join(map(regex.escape, folded))}(?!\w)")


def _shape(given: str) -> regex.Pattern[str] | None:
    """Return what all numbers of its kind look like; None where years would look so as well."""
    folded = "".join(tokens_of(fold(given)))
    if not folded.isascii() or folded.isalpha() or (folded.isdigit() and len(folded) < 5):
        return None
    kinds = "".join(r"\d" if char.isdigit() else regex.escape(char) for char in folded)
    joined = regex.sub(r"(?<=\\d)(?=\\d)|(?<=[a-z])(?=\\d)|(?<=\\d)(?=[a-z])", r"[._-]?", kinds)
    return regex.compile(rf"(?<![\w@]){joined}(?![\w@])")
