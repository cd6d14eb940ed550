"""The metric catalogue: each metric is declared once, with the way that is good; free of torch.

A flat name is `<split>/<metric>`, a whole-model number, or the name of an attack or of a user's
measure. What a metric of a split says depends on the split's role: what a model shows on rows that
are to be forgotten is better low, and on rows that are to be kept better high. Where nobody said
which way is good it is None: no caller guesses it from a name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal

Way = str | float | None
"""`higher`, `lower`, a number that is best, `reference` (best where a model that never saw the
forget rows is), or None: nobody said."""
WAYS = ("higher", "lower", "reference")
Role = Literal["forget", "keep", "unseen"]
"""A split is to be forgotten, to be kept, or no model has seen it."""
WordRule = Literal["tofu", "unicode"]
"""What ROUGE takes for a word: rouge-score's own runs of a-z and 0-9, by which TOFU's and MUSE's
published numbers were made, or the words of every script."""
ROLES: dict[str, Role] = {
    "forget": "forget",
    "retain": "keep",
    "general": "keep",
    "real_authors": "keep",
    "world_facts": "keep",
    "holdout": "unseen",
}
"""Roles of splits of which their reader says nothing; any other split has none."""


@dataclass(frozen=True)
class Metric:
    """What is known of a metric whatever its value."""

    name: str
    """Flat; of a declaration for every split, what stands behind the slash."""
    better: Way = None
    label: str = ""
    """What a reader of a report calls it; empty: its name."""
    group: str = "whole model"
    """The heading under which it is shown: a split, `mia`, `attack`, `kpi` …"""
    needs: tuple[str, ...] = ()
    """What has to be there for it to be measured; evaluation/names.py says what each word means."""
    follows: bool = False
    """Whether it shows what is known of rows to be forgotten: beside a reference, best as its."""
    alone: Way = None
    """Of a metric that is best as the reference's: the way where there is none."""
    floor: float | None = None
    """Lower is better down to here without a reference: a model that never saw the rows has some
    words in common with their truths as well."""

    def beside(self, reference: float | None) -> Metric:
        """Return the metric as it is read beside the reference's value; null: there is none.

        What shows forgetting is best at the reference's value, above and below it are as far from
        it: a model that never saw the rows neither knows them nor is silent about them.
        """
        nears = self.better == "reference" or (self.follows and isinstance(self.better, str))
        if nears and reference is not None and math.isfinite(reference):
            return replace(self, better=float(reference), floor=None)
        return replace(self, better=self.alone) if self.better == "reference" else self

    def distance(self, value: float) -> float:
        """Return the value as a number of which less is better, the floor heeded."""
        if self.better == "lower" and self.floor is not None:
            value = max(value, self.floor)
        return distance(self.better, value)

    def words_beside(self, reference: float | None) -> str:
        """Which way is good beside the reference's value, in a word or two."""
        read = self.beside(reference)
        nears = read.better != self.better and reference is not None
        return "as reference" if nears else read.words or self.words

    @property
    def words(self) -> str:
        """Which way is good, in a word or two; nothing where nobody said."""
        if isinstance(self.better, str):
            return "as reference" if self.better == "reference" else self.better
        return "" if self.better is None else f"near {self.better:g}"


SHOWN_BY_KNOWLEDGE: dict[Role, Way] = {"forget": "lower", "keep": "higher", "unseen": None}
"""What grows with what a model knows of the rows."""
LOSS: dict[Role, Way] = {"forget": "higher", "keep": "lower", "unseen": None}
TRUTH_RATIO: dict[Role, Way] = {"forget": "higher", "keep": "higher", "unseen": None}
"""Forget: mean min(R, 1/R), 1 where right and wrong look alike; keep: mean max(0, 1 − R)."""
BABBLE: dict[Role, Way] = {"forget": "lower", "keep": "lower", "unseen": None}
"""What a model that answers in sentences has little of, whatever it knows."""
REFUSALS: dict[Role, Way] = {"forget": None, "keep": "lower", "unseen": None}
"""Whether it is good to refuse what was forgotten is the user's matter: some methods teach it."""
BABBLES = 0.10
"""Share of repeated 4-grams above which a model is said to babble."""
FLOOR = 0.1
"""Of ROUGE. TOFU's and MUSE's models that never saw the rows stand at 0.2 to 0.4 (papers, and our
references); a model below a tenth has unlearned how to answer, not only what."""

OF_SPLITS = {
    Metric(
        "verbmem", label="passages recited (ROUGE-L F1)", needs=("quiz",), floor=FLOOR
    ): SHOWN_BY_KNOWLEDGE,
    Metric(
        "knowmem", label="questions answered (ROUGE-L F1)", needs=("quiz",), floor=FLOOR
    ): SHOWN_BY_KNOWLEDGE,
    Metric(
        "rougeL_recall", label="ROUGE-L recall", needs=("answers",), floor=FLOOR
    ): SHOWN_BY_KNOWLEDGE,
    Metric(
        "rouge1_recall", label="ROUGE-1 recall", needs=("answers",), floor=FLOOR
    ): SHOWN_BY_KNOWLEDGE,
    Metric("accuracy", needs=("multiple choice",)): SHOWN_BY_KNOWLEDGE,
    Metric("probability"): SHOWN_BY_KNOWLEDGE,
    Metric("truth_ratio", label="truth ratio", needs=("wrong answers",)): TRUTH_RATIO,
    Metric("truth_ratio_arithmetic", needs=("wrong answers",)): TRUTH_RATIO,
    Metric("exact_memorization"): SHOWN_BY_KNOWLEDGE,
    Metric("extraction_strength", needs=("recited",)): SHOWN_BY_KNOWLEDGE,
    Metric("loss"): LOSS,
    Metric("repetition", label="repeated 4-grams", needs=("answers",)): BABBLE,
    Metric("refusals", label="answers that refuse", needs=("answers",)): REFUSALS,
}
"""Metrics of one split, in the order in which they are shown, and their ways by role."""

QUALITY = ("reference", "forget/truth_ratio")
WHOLE = (
    Metric("forget_quality", "higher", "forget quality (p-value)", needs=QUALITY),
    Metric("model_utility", "higher", "model utility", needs=("no quiz",)),
    Metric("lume_score", "higher", "LUME task aggregate", needs=("LUME's quizzes",)),
    Metric("privleak", 0.0, "privacy leakage", needs=("reference", "unseen")),
    Metric("model_utility_arithmetic", "higher", needs=("no quiz",)),
    Metric("forget_quality_D", "lower", needs=QUALITY),
    Metric("mia_loss", "reference", group="mia", needs=("unseen",), alone=0.5),
    Metric("mia_zlib", "reference", group="mia", needs=("unseen",), alone=0.5),
    Metric("mia_min_k", "reference", group="mia", needs=("unseen",), alone=0.5),
    Metric("mia_min_k_plus_plus", "reference", group="mia", needs=("unseen",), alone=0.5),
    Metric(
        *("mia_gradient_norm", "reference"),
        group="mia",
        needs=("unseen", "gradient norms"),
        alone=0.5,
    ),
    Metric("mia_reference", 0.5, group="mia", needs=("reference", "unseen")),
)
"""Numbers of a whole model, in the order in which they are shown."""

HEADLINES = (
    *("forget_quality", "model_utility", "lume_score", "privleak"),
    *("forget/verbmem", "forget/knowmem", "retain/knowmem", "forget/accuracy", "retain/accuracy"),
    *("forget/rougeL_recall", "forget/probability", "retain/rougeL_recall", "retain/probability"),
)
"""What a reader looks for first, in this order."""
GROUPS = ("whole model", *ROLES, "mia")
"""In the order in which they are shown; others follow by name."""

_OF_SPLITS = {metric.name: (metric, ways) for metric, ways in OF_SPLITS.items()}
_WHOLE = {metric.name: metric for metric in WHOLE}


class Catalogue:
    """The metrics of a run: what is declared above, and what reader, measures and user declare."""

    def __init__(self, roles: Mapping[str, Role | None] | None = None) -> None:
        """`roles`: what a reader says of its splits; None, and what it does not name: the usual."""
        self.roles: dict[str, Role | None] = {**ROLES, **(roles or {})}
        self._declared: dict[str, Metric] = {}

    def declare(self, *metrics: Metric) -> None:
        """Add metrics of a reader, a measure or a user, or replace what is known of them."""
        self._declared |= {metric.name: metric for metric in metrics}

    def declare_quiz(self, name: str) -> None:
        """Add a reader's quiz: the share of right answers to questions on its split's rows."""
        metric, role = self[name], self.roles.get(name.partition("/")[0])
        if metric.better is None and role is not None:
            known, follows = SHOWN_BY_KNOWLEDGE[role], role == "forget"
            self.declare(replace(metric, better=known, follows=follows))

    def __getitem__(self, name: str) -> Metric:
        """Return what is known of a flat name; of a strange one nothing but its group."""
        if name in self._declared:
            return self._declared[name]
        if name in _WHOLE:
            return _WHOLE[name]
        group, slash, last = name.partition("/")
        if group == "attack":
            return Metric(name, "reference", group=group, needs=("attacks",))
        role = self.roles.get(group)
        if last in _OF_SPLITS:
            metric, ways = _OF_SPLITS[last]
            label = f"{group} {metric.label or last}"
            forgotten = role == "forget"
            return replace(
                metric,
                name=name,
                better=None if role is None else ways[role],  # nobody said what it is for
                label=label,
                group=group,
                follows=forgotten and ways not in (BABBLE, REFUSALS),
                floor=metric.floor if forgotten else None,
            )
        if not slash:
            return Metric(name)
        return Metric(name, group=group, follows=role == "forget")

    def better(self, stages: Mapping[str, Iterable[str] | None]) -> dict[str, Way]:
        """Return the way of each metric of any stage that has one, as `summary.json` records it."""
        names = {name for flat in stages.values() for name in flat or ()}
        ways = {name: self[name].better for name in sorted(names)}
        return {name: way for name, way in ways.items() if way is not None}

    @staticmethod
    def recorded(summary: Mapping[str, Any]) -> Catalogue:
        """Return the catalogue of a run from its record, older ones without `better` included."""
        catalogue = Catalogue()
        recorded = summary.get("better")
        for name, way in recorded.items() if isinstance(recorded, Mapping) else ():
            if is_way(way):  # a record of somebody else's may hold anything
                catalogue.declare(replace(catalogue[name], better=way))
        return catalogue


def is_way(value: object) -> bool:
    """Return whether a value from a configuration or a record says which way is good."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return math.isfinite(value)
    return value is None or value in WAYS


def distance(way: Way, value: float) -> float:
    """Return the value as a number of which less is better; the way must be known by itself."""
    if way is None or way == "reference":
        raise ValueError(f"no value is better than another by the way {way!r}")
    if isinstance(way, str):
        return -value if way == "higher" else value
    return abs(value - way)


def order(names: Iterable[str]) -> list[str]:
    """Sort flat names: headlines and the numbers of a split as declared, then by name."""
    places = [*HEADLINES, *_OF_SPLITS]

    def rank(name: str) -> tuple[int, str]:
        key = name.split("/")[-1]
        return (places.index(key) if key in places else len(places), name)

    return sorted(set(names), key=rank)
