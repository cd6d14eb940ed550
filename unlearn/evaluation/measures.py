"""Business measures: callables of the user's own, `(model, tokenizer) -> dict[str, float]`.

Each name that a measure returns is logged as `kpi/<name>`, in every stage. A measure that fails
costs its own numbers and nothing else: they are null, and a warning and a note name the measure.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate

from unlearn.compute.undisturbed import undisturbed
from unlearn.errors import ConfigurationError, first_line
from unlearn.evaluation.results import Evaluation
from unlearn.options.parts import Problems, locate

log = logging.getLogger(__name__)

OPTION, PREFIX = "evaluation.kpis", "kpi/"


@dataclass
class Measure:
    """One callable of the user's, and the names that it has given so far."""

    option: str
    """Where the configuration names it."""
    node: Mapping[str, Any]
    """What the configuration says of it."""
    call: Callable[[Any, Any], Any]
    names: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.option} ({self.node['_target_']})"

    @property
    def label(self) -> str | None:
        """Its key in evaluation.kpis; None where that is a list."""
        return self.option.removeprefix(OPTION + ".") if self.option[len(OPTION)] == "." else None

    def expected(self) -> list[str]:
        """Return the names that it gave at an earlier stage; its label where it never gave any."""
        return self.names or ([PREFIX + self.label] if self.label else [])


@dataclass(frozen=True)
class Measures:
    """The measures of a run."""

    each: Sequence[Measure] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """What was asked of each measure: two runs share it if their numbers are comparable."""
        return {m.label or str(m.node["_target_"]): dict(m.node) for m in self.each}

    def add_to(
        self,
        evaluation: Evaluation,
        load: Callable[[], Any],
        tokenizer: Any,
        autocast: AbstractContextManager,
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
        model = load()
        found: dict[str, float | None] = {}
        notes: list[str] = []
        for measure in self.each:
            with undisturbed(model, tokenizer), autocast:
                values = _values_of(measure, model, tokenizer, notes)
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
    measure: Measure, model: Any, tokenizer: Any, notes: list[str]
) -> dict[str, float | None]:
    """Call a measure; what it does wrong goes to `notes`, and costs the names that it concerns."""
    try:
        found = measure.call(model, tokenizer)
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
        number = read[PREFIX + name] = _number(value)
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
        call = None if node is None else problems.build(option, measure_of, node)
        if call is not None:
            made.append(Measure(option, node, call))
    return Measures(made)


def measure_of(node: Any) -> Callable[[Any, Any], Any]:
    """Return the callable that a node names: a function with its options, or a class's object.

    Raises ConfigurationError where it cannot be called with a model and a tokenizer.
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
    options = {} if inspect.isclass(target) else {k: v for k, v in node.items() if k[0] != "_"}
    made = instantiate({"_convert_": "all", **node}, _partial_=not inspect.isclass(target))
    if not callable(made):
        raise ConfigurationError(
            f"_target_: {name!r} makes a {type(made).__name__} that cannot be called; allowed: a "
            "class with __call__(model, tokenizer), or a function"
        )
    try:
        inspect.signature(made if inspect.isclass(target) else target).bind(None, None, **options)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"_target_: {name!r} cannot be called with (model, tokenizer) and these options: "
            f"{first_line(error)}"
        ) from error
    return made
