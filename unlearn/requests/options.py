"""What a ledger is started with: the options of its runs, its conditions, how it reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unlearn.composition.calls import Options, composed, words_of
from unlearn.composition.given import Given, given
from unlearn.errors import ConfigurationError, shortened
from unlearn.objectives.levels import ADVICE
from unlearn.requests.conditions import Told, default_conditions, read_condition
from unlearn.requests.phrases import languages

USUAL = ("data=requests", "method=ngdiff_guarded", "tracker=none")
"""What a run of a ledger is, unless its options say otherwise."""
PATHS = (
    "reference",
    "data.retain",
    "data.general",
    "data.holdout",
    "model.base",
    "model.tokenizer",
)
"""Options that may name a file or folder here; written down with their whole path."""
OWN = ("model.path", "accept.conditions", "data", "data.path", "hydra")
"""Options that the ledger gives to its runs itself."""


@dataclass(frozen=True)
class Reporting:
    """How certificates and decision pages are written."""

    language: str = "en"
    price_per_hour: float | None = None
    """What an hour of the machine costs; null: no money is told."""
    currency: str = "EUR"

    def __post_init__(self) -> None:
        problems = []
        if self.language not in languages():
            allowed = ", ".join(languages())
            problems.append(f"report.language: {shortened(str(self.language))}; allowed: {allowed}")
        price = self.price_per_hour
        if price is not None and not (
            isinstance(price, (int, float))
            and not isinstance(price, bool)
            and 0 <= price < math.inf
        ):
            problems.append(f"report.price_per_hour: {price!r}; allowed: a number from 0, or null")
        if not isinstance(self.currency, str) or not 0 < len(self.currency) <= 8:
            problems.append(f"report.currency: {self.currency!r}; allowed: up to 8 letters")
        if problems:
            raise ConfigurationError(problems)


@dataclass(frozen=True)
class Choices:
    """What a ledger was started with."""

    model: str
    """Folder of its first model."""
    options: list[str]
    """Overrides of every run."""
    conditions: list[Told]
    reporting: Reporting = field(default_factory=Reporting)

    @property
    def facts(self) -> dict[str, Any]:
        """What the book holds of them, but for the model."""
        return {
            "options": self.options,
            "conditions": self.conditions,
            "report": asdict(self.reporting),
        }

    @staticmethod
    def of(facts: Mapping[str, Any]) -> Choices:
        """Return what the first line of a book holds."""
        return Choices(
            facts["model"]["path"],
            list(facts["options"]),
            list(facts["conditions"]),
            Reporting(**facts["report"]),
        )


def choices_of(options: Options) -> Choices:
    """Return what a ledger is started with; raises ConfigurationError with every problem found."""
    words = words_of(options)
    told = given(words)
    reporting = Reporting(**reporting_of(told))
    model = told.get("model.path")
    if not isinstance(model, str) or not Path(model).expanduser().is_dir():
        raise ConfigurationError(
            f"model.path: {shortened(repr(model))}; a ledger needs the folder of a model, whose "
            "weights it knows by their hash"
        )
    folder = str(Path(model).expanduser().absolute())
    kept = run_options(words, told)
    cfg = composed([*USUAL, *kept, *words_of({"model.path": folder})])
    if not cfg.data.get("retain"):
        raise ConfigurationError("data.retain: not set; give the rows to keep: training data, say")
    _require_level(cfg)
    conditions = told.get("accept.conditions")
    if conditions is None:
        there = cfg.reference not in ("none", "auto")
        conditions = default_conditions(there, bool(cfg.data.get("general")))
    check_conditions(conditions)
    return Choices(folder, kept, list(conditions), reporting)


def run_options(words: Sequence[str], told: Given) -> list[str]:
    """Return the overrides that a run is given, with the whole paths of files that lie here.

    Raises ConfigurationError for those that the ledger gives itself.
    """
    kept = []
    for word in words:
        name = word.lstrip("+~").partition("=")[0].replace("/", ".")
        if name in ("model.path", "accept.conditions") or name.startswith("report."):
            continue
        if name in OWN or name.startswith("hydra."):
            raise ConfigurationError(f"{word}: the ledger says this itself; leave it out")
        value = told.get(name)
        here = isinstance(value, str) and name in PATHS and Path(value).expanduser().exists()
        if here:
            kept += words_of({name: str(Path(str(value)).expanduser().absolute())})
        elif name.startswith("data.") and name in PATHS and value is not None:
            raise ConfigurationError(f"{word}: no such file or folder")
        else:
            kept.append(word)
    return kept


def reporting_of(told: Given) -> dict[str, Any]:
    """Return the options of reports; raises ConfigurationError for unknown ones."""
    known = Reporting.__dataclass_fields__
    chosen = {n.removeprefix("report."): v for n, v in told.items() if n.startswith("report.")}
    if unknown := chosen.keys() - known.keys():
        allowed = ", ".join(f"report.{name}" for name in known)
        raise ConfigurationError(f"report.{unknown.pop()}: no such option; allowed: {allowed}")
    return chosen


def check_conditions(conditions: Any) -> None:
    """Raise ConfigurationError for conditions that nobody can read, or where there is none."""
    if not isinstance(conditions, Sequence) or isinstance(conditions, str) or not conditions:
        raise ConfigurationError(
            "accept.conditions: a ledger needs at least one, as its runs are accepted by them"
        )
    problems = []
    for number, one in enumerate(conditions):
        try:
            read_condition(dict(one) if isinstance(one, Mapping) else {})
        except ConfigurationError as error:
            problems += [f"accept.conditions[{number}].{told}" for told in error.problems]
    if problems:
        raise ConfigurationError(problems)


def _require_level(cfg: Any) -> None:
    """Raise ConfigurationError where nothing says how unlikely a forgotten row is to be."""
    level = (cfg.method.forget or {}).get("level")
    there = cfg.reference not in ("none", "auto")
    if level in ("auto", "reference") and not there and not cfg.data.get("holdout"):
        raise ConfigurationError(
            f"method.forget.level: {level}, but nothing here says how unlikely a forgotten row is; "
            f"{ADVICE}: reference=…, data.holdout=…, or method.forget.level=…"
        )
