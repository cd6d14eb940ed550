"""Business measures: callables of the user's own, `(model, tokenizer) -> dict[str, float]`.

One that names them gets more of the stage: `rows` (the evaluated rows by split), `encoder` (rows to
ids) and `scores` (the score table). Which way is good it says itself, by an attribute `better`, or
its node in the configuration does.

Each name that a measure returns is logged as `kpi/<name>`, in every stage. A measure that fails
costs its own numbers and nothing else: they are null, and a warning and a note name the measure.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
import torch

from unlearn.compute.model import LanguageModel
from unlearn.compute.undisturbed import undisturbed
from unlearn.errors import ConfigurationError, first_line
from unlearn.evaluation.results import Evaluation
from unlearn.evaluation.suites import Suite
from unlearn.metrics.catalogue import WAYS, Metric, Way, is_way
from unlearn.options.parts import Problems, instantiated, locate

log = logging.getLogger(__name__)

OPTION, PREFIX = "evaluation.kpis", "kpi/"
OFFERED = ("rows", "encoder", "scores")
"""What a measure gets by keyword where it names it."""
COMPUTE = "compute"
"""What a measure of the package gets besides, which then says itself in which precision it runs."""


@dataclass
class Measure:
    """One callable of the user's, and the names that it has given so far."""

    option: str
    """Where the configuration names it."""
    node: Mapping[str, Any]
    """What the configuration says of it."""
    call: Callable[..., Any]
    names: list[str] = field(default_factory=list)
    better: Way | Mapping[str, Way] = None
    """Which way is good: for all names, or by name without kpi/."""
    asks: Sequence[str] = ()
    """What of :data:`OFFERED` it names."""
    prefix: str = PREFIX
    """What the names of its numbers begin with, before their own."""

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.option} ({self.node['_target_']})"

    @property
    def label(self) -> str | None:
        """Its key in evaluation.kpis; None where that is a list."""
        named = self.option.startswith(OPTION + ".")
        return self.option.removeprefix(OPTION + ".") if named else None

    def metric(self, name: str) -> Metric:
        """Return what this measure declares of a name, its prefix included."""
        way = self.better
        if isinstance(way, Mapping):
            way = way.get(name.removeprefix(self.prefix))
        return Metric(name, way, group=self.prefix[:-1])

    def expected(self) -> list[str]:
        """Return the names that it gave at an earlier stage; its label where it never gave any."""
        return self.names or ([self.prefix + self.label] if self.label else [])


@dataclass(frozen=True)
class Measures:
    """The measures of a run."""

    each: Sequence[Measure] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """What was asked of each measure: two runs share it if their numbers are comparable."""
        return {
            m.label or str(m.node["_target_"]): {k: v for k, v in m.node.items() if k != "better"}
            for m in self.each
        }

    @property
    def metrics(self) -> list[Metric]:
        """What the measures declare of the names that they have given so far."""
        return [measure.metric(name) for measure in self.each for name in measure.names]

    def promised(self, name: str) -> Metric:
        """Return what is declared of a name before any measure has given it."""
        of_name = [measure for measure in self.each if name.startswith(measure.prefix)]
        found = [measure.metric(name) for measure in of_name]
        unknown = Metric(name, group=name.partition("/")[0])
        return next((one for one in found if one.better is not None), unknown)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What names begin with that are known only once a measure was called."""
        return tuple(dict.fromkeys(measure.prefix for measure in self.each))

    def add_to(
        self,
        evaluation: Evaluation,
        load: Callable[[], LanguageModel],
        suite: Suite,
        stage: str,
    ) -> Evaluation:
        """Return the evaluation with the numbers of every measure; loads no model without one.

        The model is in evaluation mode and computes without gradients, in the precision of the run.
        Random numbers begin at one seed in every stage, and the generators of torch, Python and
        numpy are put back, so that a training goes on as if nothing had been measured. A measure
        must leave the weights as they are: nobody checks.
        """
        if not self.each:
            return evaluation
        model, tokenizer = load(), suite.encoder.tokenizer
        found: dict[str, float | None] = {}
        notes: list[str] = []
        for measure in self.each:
            given = {
                # Copies: what a measure does with them must not change what is written.
                "rows": {name: list(rows) for name, rows in suite.rows.items()},
                "encoder": suite.encoder,
                "scores": evaluation.scores.copy(),
                COMPUTE: suite.compute,
            }
            asked = {name: given[name] for name in measure.asks}
            cast = nullcontext() if COMPUTE in measure.asks else suite.compute.autocast
            with undisturbed(model, tokenizer), cast:
                values = _values_of(measure, model, tokenizer, notes, asked)
            for name in sorted(found.keys() & values.keys()):
                notes.append(f"{measure.title}: {name} was measured by another one, so it is null")
                found[name] = values[name] = None
            found |= values
        for note in notes:
            log.warning("%s: %s", stage, note)
        return replace(
            evaluation, metrics={**evaluation.metrics, **found}, notes=[*evaluation.notes, *notes]
        )


def _values_of(
    measure: Measure,
    model: LanguageModel,
    tokenizer: Any,
    notes: list[str],
    asked: Mapping[str, Any] | None = None,
) -> dict[str, float | None]:
    """Call a measure; what it does wrong goes to `notes`, and costs the names that it concerns."""
    try:
        found = measure.call(model, tokenizer, **(asked or {}))
    except (Exception, SystemExit) as error:  # any: a measure may fail as it likes
        log.debug("where it happened (hydra.verbose=true shows this)", exc_info=error)
        notes.append(f"{measure.title}: raised {type(error).__name__}: {first_line(error)}")
        return dict.fromkeys(measure.expected())
    if not isinstance(found, Mapping):
        notes.append(f"{measure.title}: returned a {type(found).__name__}; allowed: a dict")
        return dict.fromkeys(measure.expected())
    read: dict[str, float | None] = {}
    for name, value in found.items():
        if not isinstance(name, str) or not name.strip():
            notes.append(f"{measure.title}: {name!r} is no name; allowed: text")
            continue
        number = read[measure.prefix + name] = _number(value)
        if number is None:
            shown = value if isinstance(value, Real) else f"a {type(value).__name__}"
            notes.append(f"{measure.title}: {name} is {shown}, no finite number, so it is null")
    expected = measure.names or ([] if read else measure.expected())
    missing = [name for name in expected if name not in read]
    if missing or not read:
        notes.append(f"{measure.title}: gave no {', '.join(missing) or 'number'}")
    measure.names = list(dict.fromkeys([*measure.names, *read]))
    return dict.fromkeys(missing) | read


def _number(value: Any) -> float | None:
    """Return a finite number, of Python, numpy or a tensor with one element; else None."""
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)) and math.prod(value.shape) == 1:
        value = value.item()
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def measures_of(kpis: Any, problems: Problems) -> Measures:
    """Return the measures that `evaluation.kpis` names, with what is wrong noted; no model yet."""
    if isinstance(kpis, Mapping):
        nodes = {f"{OPTION}.{name}": node for name, node in kpis.items()}
    elif isinstance(kpis, list) or kpis is None:
        nodes = {f"{OPTION}[{number}]": node for number, node in enumerate(kpis or [])}
    else:
        problems.add(
            f"{OPTION}: {kpis!r}; allowed: {{NAME: {{_target_: MODULE.FUNCTION}}}}, or a list of "
            "such nodes"
        )
        return Measures()
    made = []
    for option, node in nodes.items():
        # null switches off what a preset names
        parts = None if node is None else problems.build(option, measure_of, node)
        if parts is not None:
            made.append(Measure(option, node, **parts))
    return Measures(made)


def measure_of(node: Any) -> dict[str, Any]:
    """Return `call`, a function with its options or a class's object, with `better` and `asks`.

    Raises ConfigurationError where it cannot be called with a model, a tokenizer and what it names
    of :data:`OFFERED`, or where `better` is no way.
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigurationError(
            "_target_: not set; name a function (model, tokenizer) -> dict, or a class whose "
            "objects are called like that"
        )
    name = node["_target_"]
    target = locate(name)
    if not callable(target):
        raise ConfigurationError(f"_target_: {name!r} is a {type(target).__name__}, no function")
    node = dict(node)
    better = ways_of(node.pop("better", getattr(target, "better", None)))
    options = {} if inspect.isclass(target) else {k: v for k, v in node.items() if k[0] != "_"}
    made = instantiated({"_convert_": "all", **node}, _partial_=not inspect.isclass(target))
    if not callable(made):
        raise ConfigurationError(
            f"_target_: {name!r} makes a {type(made).__name__} that cannot be called; allowed: a "
            "class with __call__(model, tokenizer), or a function"
        )
    try:
        signature = inspect.signature(made if inspect.isclass(target) else target)
        asks = [one for one in OFFERED if one in signature.parameters and one not in options]
        signature.bind(None, None, **options, **dict.fromkeys(asks))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"_target_: {name!r} cannot be called with (model, tokenizer), what it names of "
            f"{', '.join(OFFERED)}, and these options: {first_line(error)}"
        ) from error
    return {"call": made, "better": better, "asks": asks}


def ways_of(better: Any, prefix: str = PREFIX) -> Way | dict[str, Way]:
    """Return the way of all names, or the ways by name, that a measure declares."""
    if isinstance(better, Mapping):
        return {str(name).removeprefix(prefix): _way(way) for name, way in better.items()}
    return _way(better)


def _way(way: Any) -> Way:
    if is_way(way):
        return float(way) if isinstance(way, Real) else way
    raise ConfigurationError(
        f"better: {way!r}; allowed: {', '.join(WAYS)}, a number that is best, or one of these for "
        "each name, {NAME: lower}"
    )
