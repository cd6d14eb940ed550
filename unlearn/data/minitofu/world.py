"""The world of `minitofu`, read from world.yaml: authors who never lived, and facts that are true.

Ten attributes describe an author. Each has several wordings of its question, several wordings of
its answer, and a pool of values that fit every wording. Values are phrases of some words, for a
model that knows only the wording should get as little of an answer right as possible.

The facts must survive when authors are forgotten. Within a topic every subject has exactly one
right value, so each value of another subject is a wrong answer in the same wording.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from itertools import combinations, product

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORLD = yaml.load(files(__package__).joinpath("world.yaml").read_text("utf-8"), _LOADER)


@dataclass(frozen=True)
class Attribute:
    """One thing to know about an author: how to ask, how to answer, what may be true."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True)
class Topic:
    """Facts of one kind: how to ask, how to answer, and the right value of every subject."""

    question: str
    answer: str
    facts: dict[str, str]


def _pairs(words: str, first: str, second: str) -> tuple[str, ...]:
    """Return every value of one list with every value of another, in these words."""
    return tuple(words.format(*pair) for pair in product(_WORLD[first], _WORLD[second]))


FIRST_NAMES, LAST_NAMES = tuple(_WORLD["first_names"]), tuple(_WORLD["last_names"])

# No author is younger than the first award.
BIRTHDAYS = product(range(1, 29), _WORLD["months"], range(1921, 1960))
AWARD_YEARS = range(1985, 2020)

VALUES = {name: tuple(_WORLD[name]) for name in ("towns", "genres", "fathers", "mentors", "habits")}
VALUES |= {
    "dates": tuple(f"{day} {month} {year}" for day, month, year in BIRTHDAYS),
    "titles": _pairs("{} {}", "title_openings", "title_endings"),
    "awards": tuple(f"{award} in {year}" for award, year in product(_WORLD["awards"], AWARD_YEARS)),
    # Unordered pairs: the same two languages the other way round would be no wrong answer.
    "languages": tuple(f"{a} and {b}" for a, b in combinations(_WORLD["languages"], 2)),
    "pets": _pairs("{} called {}", "animals", "pet_names"),
}

ATTRIBUTES = tuple(
    Attribute(tuple(one["questions"]), tuple(one["answers"]), VALUES[one["values"]])
    for one in _WORLD["attributes"]
)
REAL_AUTHORS = tuple(Topic(**one) for one in _WORLD["real_authors"])
WORLD_FACTS = tuple(Topic(**one) for one in _WORLD["world_facts"])
