"""From a node of the configuration to the part that it names, problems collected on the way.

A part is named by `_target_`. Where that is a dataclass (all of ours are) its fields are the typed
options; any other callable is called with the node's keys, as Hydra's `instantiate` does.
"""

from __future__ import annotations

import dataclasses
import pkgutil
import re
from collections.abc import Callable
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unlearn.errors import ConfigurationError


class Problems:
    """Collects what is wrong, each with the name of its option."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        self.found.append(problem)

    def require(self, right: bool, problem: str) -> None:
        if not right:
            self.add(problem)

    def build(self, field: str, make: Callable[[Any], Any], node: Any) -> Any:
        """Return `make(node)`; note its failure under the name of the option and return None."""
        try:
            return make(node)
        except ConfigurationError as error:
            for problem in error.problems:
                if problem.startswith(f"{field.split('.')[0]}."):
                    self.add(problem)
                else:  # "warmup: 2" becomes "scheduler.warmup: 2"; a sentence comes after a colon
                    joint = "." if re.match(r"\w+: ", problem) else ": "
                    self.add(f"{field}{joint}{problem}")
        except OmegaConfBaseException as error:
            where = f"{field}.{error.full_key}" if error.full_key else field
            self.add(f"{where}: {first_line(error.msg or error)}")
        except Exception as error:  # any: a user's own part may raise what it likes
            self.add(f"{field}: {first_line(error.__cause__ or error)}")
        return None


def first_line(error: object) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def build_part(node: Any) -> Any:
    """Return the part that `node` describes by `_target_` and options."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise ConfigurationError(
            "_target_: not set; choose one of the group, or name a class by _target_"
        )
    target = locate(node._target_)
    if not dataclasses.is_dataclass(target):
        return instantiate(node)
    options = {str(key): value for key, value in node.items_ex(resolve=True) if key != "_target_"}
    allowed = [field.name for field in dataclasses.fields(target) if field.init]
    unknown = [
        f"{key}: no such option; allowed: {', '.join(allowed) or 'none'}"
        for key in options
        if key not in allowed
    ]
    if unknown:
        raise ConfigurationError(unknown)
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(target), options))


def part(kind: type) -> Callable[[Any], Any]:
    """Return a :func:`build_part` that refuses whatever is no `kind`."""

    def build(node: Any) -> Any:
        built = build_part(node)
        if not isinstance(built, kind):
            raise ConfigurationError(
                f"_target_: {node._target_!r} makes a {type(built).__name__}; "
                f"allowed: a subclass of {kind.__module__}.{kind.__qualname__}"
            )
        return built

    return build


def reader_of(node: Any) -> Any:
    """Return the reader that `node` describes."""
    built = build_part(node)
    if not callable(getattr(built, "read", None)):
        raise ConfigurationError(
            f"_target_: {node._target_!r} makes a {type(built).__name__}; "
            "allowed: a class with a method read() that returns unlearn.data.Splits"
        )
    return built


def locate(name: Any) -> Any:
    """Return the class or function named `name`."""
    try:
        return pkgutil.resolve_name(name)
    except Exception as error:  # any: importing a user's module may fail as it likes
        raise ConfigurationError(
            f"_target_: {name!r} cannot be imported ({first_line(error)}); give the full name of "
            "a class or function that Python finds from here (PYTHONPATH names your own folders)"
        ) from error


def plain_container(node: DictConfig) -> dict[str, Any]:
    """Return the resolved configuration as dictionaries, lists and plain values."""
    container = OmegaConf.to_container(node, resolve=True, enum_to_str=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
