"""Whom or what a request is about, in the words of the person who asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import regex

from unlearn.data.telling import shown
from unlearn.errors import ConfigurationError
from unlearn.requests.finding.folding import fold, is_unspaced, tokens_of

EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
PASSAGE = 20
"""Fewest letters of a passage; a shorter one stands in rows that have nothing to do with it."""


@dataclass(frozen=True)
class Subject:
    """What to look for, each a list; a row that has any of it is found.

    `about`, `not_about` and `keep` find nothing by themselves: they tell people of one name apart.
    """

    names: tuple[str, ...] = ()
    """Names in full, with each further spelling (another script, a maiden name) as one more."""
    ids: tuple[str, ...] = ()
    """Numbers and codes: a customer's, a telephone's; spaces, dots and dashes may differ."""
    emails: tuple[str, ...] = ()
    passages: tuple[str, ...] = ()
    """Texts: rows with a good part of one are found, however long it is."""
    patterns: tuple[str, ...] = ()
    """Regular expressions, searched in every cell of a row."""
    where: tuple[tuple[str, str], ...] = ()
    """A column and its value."""
    about: tuple[str, ...] = ()
    """Words that are true of the subject alone among people of that name: a city, an employer."""
    not_about: tuple[str, ...] = ()
    """Words that tell of somebody else of that name."""
    keep: tuple[str, ...] = ()
    """Names of others who are not to be forgotten."""

    def __post_init__(self) -> None:
        """Raise ConfigurationError with all that nobody could look for."""
        problems = self._problems()
        if problems:
            raise ConfigurationError(problems)

    def _problems(self) -> list[str]:
        searched = ("names", "ids", "emails", "passages", "patterns", "where")
        if not any(getattr(self, name) for name in searched):
            return [
                "no subject: say what to look for with at least one of --name, --id, --email, "
                "--passage, --pattern, --where COLUMN=VALUE, or --subject FILE"
            ]
        problems = [
            f"{_FLAGS[field.name]}={shown(given)}: nothing that could be looked for; "
            "give at least one letter or digit"
            for field in fields(self)
            if field.name not in ("patterns", "where")
            for given in getattr(self, field.name)
            if not tokens_of(fold(given))
        ]
        problems += [
            f"--name={shown(name)}: one letter stands in every row; give the name in full"
            for name in (*self.names, *self.keep)
            if (found := tokens_of(fold(name))) and len("".join(found)) == 1
        ]
        problems += [
            f"--email={shown(given)}: no e-mail address; one looks like name@example.org"
            for given in self.emails
            if tokens_of(fold(given)) and not EMAIL.fullmatch(given.strip())
        ]
        problems += [
            f"--passage={shown(text)}: {len(fold(text))} letters tell no row from another; give at "
            f"least {PASSAGE}, or --pattern for a short text"
            for text in self.passages
            if 0 < _length(text) < PASSAGE
        ]
        problems += [told for pattern in self.patterns if (told := _pattern_problem(pattern))]
        problems += [
            f"--where={column}={value}: a column and a value are needed, COLUMN=VALUE, "
            "such as --where customer_id=4711"
            for column, value in self.where
            if not column.strip() or not value.strip()
        ]
        return problems


_FLAGS = {
    "names": "--name",
    "ids": "--id",
    "emails": "--email",
    "passages": "--passage",
    "about": "--about",
    "not_about": "--not-about",
    "keep": "--keep",
}


def _length(text: str) -> int:
    """Return the letters of a text; one of a script without spaces counts for two."""
    return sum(len(token) * (2 if is_unspaced(token) else 1) for token in tokens_of(fold(text)))


def _pattern_problem(pattern: str) -> str | None:
    try:
        empty = regex.compile(pattern).search("")
    except regex.error as error:
        return f"--pattern={shown(pattern)}: no regular expression ({error}); mend it, or give --id"
    if empty:
        return (
            f"--pattern={shown(pattern)}: it matches the empty text, so every row; "
            "write + in place of *"
        )
    return None


def read_subject(path: Path) -> dict[str, Any]:
    """Return what a YAML or JSON file says of a subject, by the names of :class:`Subject`.

    `where` is a mapping of columns to values; everything else is a text or a list of texts.
    """
    import yaml

    allowed = [field.name for field in fields(Subject)]
    named = f"--subject={path}"
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{named}: it cannot be read ({told}); give a file") from error
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise ConfigurationError(f"{named}: no YAML ({told})") from error
    if not isinstance(held, Mapping):
        raise ConfigurationError(
            f"{named}: it holds {shown(held)}; give lines such as 'names: [Maria Keller]'; "
            f"known are {', '.join(allowed)}"
        )
    unknown = [str(name) for name in held if name not in allowed]
    if unknown:
        raise ConfigurationError(
            f"{named}: {', '.join(unknown)} is nothing that a subject has; "
            f"known are {', '.join(allowed)}"
        )
    found: dict[str, Any] = {}
    problems = []
    for name, value in held.items():
        if name == "where" and isinstance(value, Mapping):
            found[name] = tuple((str(column), str(of)) for column, of in value.items())
            continue
        values = value if isinstance(value, list) else [value]
        if name == "where" or not all(isinstance(one, str | int) for one in values):
            form = "a mapping such as {customer_id: 4711}" if name == "where" else "texts"
            problems.append(f"{named}: {name} is {shown(value)}; give {form}")
        else:
            found[name] = tuple(map(str, values))
    if problems:
        raise ConfigurationError(problems)
    return found
