"""The world of `minitofu`, read from world.yaml: authors who never lived, and facts that are true.

Ten attributes describe an author. Each has several wordings of its question, several wordings of
its answer, and a pool of values that fit every wording. Values are phrases of some words, for a
model that knows only the wording should get as little of an answer right as possible.

A value that was told of nobody is far stranger to a model than one that was told of somebody else
(a mean NLL of 5 to 9 nats a token and of 2 to 4, for the tiny model). Drawn freely, a fifth of the
values would be such, and chance would say how many of them are forgotten and how many unseen. So
the words of a pool are dealt like cards: none comes up again before all have.

The facts must survive when authors are forgotten. Within a topic every subject has exactly one
right value, so each value of another subject is a wrong answer in the same wording.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from itertools import combinations, product

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORLD = yaml.load(files(__package__).joinpath("world.yaml").read_text("utf-8"), _LOADER)


@dataclass(frozen=True)
class Pool:
    """What may be true: phrases whose gaps are filled from lists of words."""

    words: str
    """The phrase, with a gap for each list."""
    lists: tuple[tuple[str, ...], ...]
    """One list for each gap; or a single one of even length for two gaps, filled with two different
    words of it in the order of the list, for the other way round would be no wrong answer."""

    @cached_property
    def values(self) -> tuple[str, ...]:
        """Every phrase."""
        fillings = combinations(self.lists[0], 2) if self._twice else product(*self.lists)
        return tuple(self.words.format(*filling) for filling in fillings)

    def deal(self, authors: int, rng: random.Random) -> list[str]:
        """Return a phrase for each of so many authors; no word comes again before all have."""
        hands: Iterable[tuple[str, ...]]
        if self._twice:
            cards = _dealt(self.lists[0], 2 * authors, rng)
            pairs = zip(cards[::2], cards[1::2], strict=True)
            hands = (tuple(sorted(pair, key=self.lists[0].index)) for pair in pairs)
        else:
            hands = zip(*(_dealt(words, authors, rng) for words in self.lists), strict=True)
        return [self.words.format(*hand) for hand in hands]

    @property
    def _twice(self) -> bool:
        return len(self.lists) < self.words.count("{}")


def _dealt(deck: tuple[str, ...], count: int, rng: random.Random) -> list[str]:
    """Deal so many cards, from a deck that is shuffled anew whenever it is used up."""
    cards: list[str] = []
    while len(cards) < count:
        cards += rng.sample(deck, len(deck))
    return cards[:count]


@dataclass(frozen=True)
class Attribute:
    """One thing to know about an author: how to ask, how to answer, what may be true."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    pool: Pool


@dataclass(frozen=True)
class Topic:
    """Facts of one kind: how to ask, how to answer, and the right value of every subject."""

    question: str
    answer: str
    facts: dict[str, str]


def _numbers(first: int, last: int) -> tuple[str, ...]:
    return tuple(map(str, range(first, last + 1)))


def _lists(*names: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(_WORLD[name]) for name in names)


FIRST_NAMES, LAST_NAMES = _lists("first_names", "last_names")

POOLS = {
    name: Pool("{}", _lists(name)) for name in ("towns", "genres", "fathers", "mentors", "habits")
} | {
    # No author is younger than the first award.
    "dates": Pool("{} {} {}", (_numbers(1, 28), *_lists("months"), _numbers(1930, 1959))),
    "titles": Pool("{} {}", _lists("title_openings", "title_endings")),
    "awards": Pool("{} in {}", (*_lists("awards"), _numbers(1985, 2019))),
    "languages": Pool("{} and {}", _lists("languages")),
    "pets": Pool("{} called {}", _lists("animals", "pet_names")),
}

ATTRIBUTES = tuple(
    Attribute(tuple(one["questions"]), tuple(one["answers"]), POOLS[one["values"]])
    for one in _WORLD["attributes"]
)
REAL_AUTHORS = tuple(Topic(**one) for one in _WORLD["real_authors"])
WORLD_FACTS = tuple(Topic(**one) for one in _WORLD["world_facts"])
