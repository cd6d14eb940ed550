"""Rows that say the same as the subject's without naming it: copies, paraphrases, shared facts.

Only telling words count, those of few rows; each weighs log(rows / rows that have it), so that a
template of the data ("Where was … born?") makes no two rows alike. The subject's rows are few and
held in an index by word: a row is compared with those that share words with it, exactly, where
MinHash would have to hash every row of the data to be less exact.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from unlearn.requests.finding.folding import is_unspaced, tokens_of
from unlearn.requests.finding.frequencies import Frequencies

SEEDS = 5_000
"""Rows of the subject that others are compared with, at the most."""
TELLING = 0.02
"""Most of the rows that a telling word stands in; of few rows, TELLING_ROWS."""
TELLING_ROWS = 5
ALIKE = 0.5
"""Weighted Jaccard index from which on a row says nearly the same as one of the subject's."""
OWN = 0.25
"""Least share of the rows with a word that are the subject's, for the word to be a fact of its."""
VERBATIM = 0.5
"""Share of the word sequences of a row that stand in a passage, for the row to be a part of it."""
PARTLY = 0.15
_SEQUENCE = 5
_POSTED = 64
"""Rows of the subject that a word leads to at the most."""
_CHUNK, _STEP = 80, 60
_DIGITS = 5
_WEIGHED = 400_000


class Kin(NamedTuple):
    """Why a row belongs to the subject's rows although it does not name it."""

    sure: bool
    kind: str
    reason: str


@dataclass(frozen=True)
class Seed:
    """A row of the subject, or a piece of a passage."""

    place: str
    features: frozenset[str]
    passage: int | None = None


def features_of(tokens: Iterable[str]) -> list[str]:
    """Return what rows are compared by, in order: words; of scripts without spaces, pairs."""
    tokens = list(tokens)
    if not tokens or max(tokens) < "\u0e00":
        return tokens
    found: list[str] = []
    for token in tokens:
        if token[0] < "\u0e00" or not is_unspaced(token):
            found.append(token)
        else:
            found += [token[at : at + 2] for at in range(max(len(token) - 1, 1))]
    return found


def sequences_of(tokens: Iterable[str]) -> set[str]:
    """Return all sequences of five words; of scripts without spaces, of five letters."""
    units = [unit for token in tokens for unit in (token if is_unspaced(token) else [token])]
    return {
        " ".join(units[at : at + _SEQUENCE]) for at in range(max(len(units) - _SEQUENCE + 1, 0))
    }


def pieces_of(folded: str, passage: int) -> list[Seed]:
    """Cut a passage into overlapping pieces of the length of a row."""
    features = features_of(tokens_of(folded))
    starts = range(0, max(len(features) - _CHUNK + _STEP, 1), _STEP)
    return [Seed("the passage", frozenset(features[at : at + _CHUNK]), passage) for at in starts]


class Kindred:
    """The rows of a subject, and how near another row is to them."""

    def __init__(
        self,
        seeds: Sequence[Seed],
        passages: Sequence[str],
        frequencies: Frequencies,
        named: set[str],
    ) -> None:
        """Index seeds; `named` are the words that name the subject, by which rows were found."""
        self._frequencies = frequencies
        self._limit = max(TELLING * frequencies.rows, TELLING_ROWS)
        self._weights: dict[str, float] = {}
        self._seeds = list(seeds)
        self._sequences = [sequences_of(tokens_of(folded)) for folded in passages]
        self._named = set(features_of(sorted(named)))
        self._posted: dict[str, list[int]] = {}
        self._sums: list[float] = []
        counted: Counter[str] = Counter()
        for index, seed in enumerate(self._seeds):
            telling = sorted(f for f in seed.features if f not in self._named and self.weight(f))
            self._sums.append(sum(map(self.weight, telling)))
            counted.update(seed.features if seed.passage is None else ())
            for feature in telling:
                posted = self._posted.setdefault(feature, [])
                if len(posted) < _POSTED:
                    posted.append(index)
        rows = sum(seed.passage is None for seed in self._seeds) or 1
        self._own = {
            feature for feature in self._posted if counted[feature] >= OWN * frequencies.of(feature)
        }
        total = frequencies.rows
        self.profile = {
            feature: math.log1p(total / max(frequencies.of(feature), 1)) * count / rows
            for feature, count in counted.most_common(2000)
            if feature not in self._named
        }
        """What the subject's rows are about: how often each word stands there, and its weight."""

    def weight(self, feature: str) -> float:
        """Return the weight of a telling word, 0 for any other."""
        if (known := self._weights.get(feature)) is not None:
            return known
        if len(self._weights) > _WEIGHED:
            self._weights.clear()
        count = max(self._frequencies.of(feature), 1)
        total = max(self._frequencies.rows, count)
        self._weights[feature] = math.log(total / count) if count <= self._limit else 0.0
        return self._weights[feature]

    def nearness(self, features: set[str]) -> float:
        """Return how much a row is about what the subject's rows are about."""
        profile = self.profile
        shared = sum([profile[feature] for feature in features if feature in profile])
        return shared / math.sqrt(len(features)) if shared else 0.0

    def kin(self, tokens: Sequence[str], features: Sequence[str]) -> Kin | None:
        """Return why a row belongs to the subject's; None where nothing says so."""
        posted = self._posted
        hits = {feature for feature in features if feature in posted}
        if not hits:
            return None
        shared: defaultdict[int, float] = defaultdict(float)
        for feature in sorted(hits):
            weight = self.weight(feature)
            for index in posted[feature]:
                shared[index] += weight
        if self._sequences and (found := self._of_a_passage(tokens, shared)):
            return found
        best = max(shared, key=lambda index: shared[index] / (self._sums[index] or 1))
        if len(hits) > 1 and shared[best] >= ALIKE * self._sums[best]:
            own = sum(self.weight(f) for f in sorted(set(features) - self._named))
            alike = shared[best] / (self._sums[best] + own - shared[best])
            if alike >= ALIKE and self._seeds[best].passage is None:
                told = f"says nearly the same as {self._seeds[best].place}, without the name"
                return Kin(
                    False, "alike", f"{told} ({alike:.0%} of the words that tell rows apart)"
                )
            if alike >= ALIKE:
                return Kin(False, "paraphrase", "says what the passage says in other words")
        facts = self._facts(features)
        if len(facts) > 1 or any(_is_number(fact) for fact in facts):
            named = ", ".join(f"“{fact}”" for fact in facts[:4])
            return Kin(
                False, "facts", f"does not name the subject, but has {named}, as its rows do"
            )
        return None

    def _of_a_passage(self, tokens: Sequence[str], shared: dict[int, float]) -> Kin | None:
        passages = {self._seeds[index].passage for index in shared} - {None}
        if not passages or not (mine := sequences_of(tokens)):
            return None
        share = max(
            len(mine & self._sequences[number])
            / max(min(len(mine), len(self._sequences[number])), 1)
            for number in passages
            if number is not None
        )
        if share >= VERBATIM:
            told = f"{share:.0%} of its word sequences stand in the passage"
            return Kin(True, "passage", told)
        if share >= PARTLY:
            told = f"has a part of the passage: {share:.0%} of its word sequences"
            return Kin(False, "passage", told)
        return None

    def _facts(self, features: Sequence[str]) -> list[str]:
        """Return the facts of the subject in a row: words side by side are one fact."""
        mine = [feature for feature in features if feature in self._own]
        shared = Counter(index for feature in set(mine) for index in self._posted[feature])
        if not shared:
            return []
        # Two rare words in a row are chance, unless they stand together in one of the subject's.
        one = max(shared, key=lambda index: (shared[index], -index))
        together = {feature for feature in mine if one in self._posted[feature]}
        facts = []
        for own, group in groupby(features, key=together.__contains__):
            run = list(group)
            if not own:
                continue
            if is_unspaced(run[0]):
                if len(run) > 1:
                    facts.append(run[0] + "".join(pair[-1] for pair in run[1:]))
            else:
                facts.append(" ".join(run))
        return list(dict.fromkeys(facts))


def _is_number(fact: str) -> bool:
    return sum(map(str.isdigit, fact)) >= _DIGITS
