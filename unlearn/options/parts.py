"""From a node of the configuration to the part that it names, problems collected on the way.

A part is named by `_target_`. Where that is a dataclass (all of ours are) its fields are the typed
options; any other callable is called with the node's keys, as Hydra's `instantiate` does.
"""

from __future__ import annotations

import copy
import dataclasses
import pkgutil
import re
from collections.abc import Callable, Iterable
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unlearn.errors import ConfigurationError, first_line, shortened
from unlearn.options.interpolated import texts_of
from unlearn.options.schema import Config


class Problems:
    """Collects what is wrong, each with the name of its option."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, *problems: str | None) -> None:
        """Note those that there are."""
        self.found += [problem for problem in problems if problem is not None]

    def add_under(self, field: str, problems: Iterable[str]) -> None:
        """Note the problems of the part that the option `field` names."""
        for problem in problems:
            if problem.startswith(f"{field.split('.')[0]}."):
                self.add(problem)
            else:  # "warmup: 2" becomes "scheduler.warmup: 2"; a sentence comes after a colon
                joint = "." if re.match(r"\w+: ", problem) else ": "
                self.add(f"{field}{joint}{problem}")

    def require(self, right: bool, problem: str) -> None:
        if not right:
            self.add(problem)

    def build(self, field: str, make: Callable[[Any], Any], node: Any) -> Any:
        """Return `make(node)`; note its failure under the name of the option and return None."""
        try:
            return make(node)
        except ConfigurationError as error:
            self.add_under(field, error.problems)
        except OmegaConfBaseException as error:
            where = f"{field}.{error.full_key}" if error.full_key else field
            self.add(f"{where}: {shortened(first_line(error.msg or error))}{_quoting(error)}")
        except Exception as error:  # any: a user's own part may raise what it likes
            self.add(f"{field}: {shortened(first_line(error.__cause__ or error), 1_000)}")
        return None


def _quoting(error: OmegaConfBaseException) -> str:
    """Say what a text in brackets or braces needs, where a list or mapping came in its place."""
    if not re.match(r"Cannot convert '(List|Dict)Config' to string", str(error)):
        return ""
    return "; a text in brackets or braces is quoted: 'OPTION=\"[text]\"'"


def instantiated(node: Any, **flags: Any) -> Any:
    """Return what Hydra makes of `node`: its `_target_`, called with its other keys.

    Lists and mappings reach it as Python's own: what keeps them would otherwise put OmegaConf's
    into a checkpoint, which no later run could read.
    """
    return instantiate(node, _convert_="all", **flags)


def build_part(node: Any) -> Any:
    """Return the part that `node` describes by `_target_` and options."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise ConfigurationError(
            "_target_: not set; choose one of the group, or name a class by _target_"
        )
    target = locate(node._target_)
    if not dataclasses.is_dataclass(target):
        return instantiated(node)
    options = {str(key): value for key, value in node.items_ex(resolve=True) if key != "_target_"}
    allowed = [field.name for field in dataclasses.fields(target) if field.init]
    unknown = [
        f"{key}: no such option; allowed: {', '.join(allowed) or 'none'}"
        for key in options
        if key not in allowed
    ]
    unknown += [
        f"{key}: a number of over 30 digits means nothing here"
        for key, value in options.items()
        if isinstance(value, int) and abs(value) >= 10**30  # OmegaConf would not name the option
    ]
    if unknown:
        raise ConfigurationError(unknown)
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(target), options))


def options_of(node: DictConfig, name: str, problems: Problems) -> Any:
    """Return the options of a typed node; None where something is wrong, which is noted.

    A node below that is wrong gives way to its default, so that the problems of both are told.
    """
    node, before = copy.deepcopy(node), len(problems.found)
    for key in map(str, node):
        kind = OmegaConf.get_type(node, key)
        if (
            isinstance(kind, type)
            and dataclasses.is_dataclass(kind)
            and options_of(node[key], f"{name}.{key}", problems) is None
        ):
            node[key] = kind()
    made = problems.build(name, OmegaConf.to_object, node)
    return made if len(problems.found) == before else None


def check_keys(node: Any, name: str, problems: Problems) -> None:
    """Note what `+group.option=value` added and nothing reads."""
    schema = OmegaConf.get_type(node) if isinstance(node, DictConfig) else None
    if schema is None or not dataclasses.is_dataclass(schema):
        return
    allowed = [field.name for field in dataclasses.fields(schema)]
    for key in map(str, node):
        problems.require(
            key in allowed, f"{name}.{key}: no such option; allowed: {', '.join(allowed)}"
        )
        if not OmegaConf.is_missing(node, key):
            check_keys(node._get_node(key), f"{name}.{key}", problems)


def check_root(cfg: DictConfig, problems: Problems) -> None:
    """Note what `+name=value` added at the root and nothing reads.

    A name that another option looks up, as in `+size=64 model.tiny.hidden_size=${size}`, is read.
    """
    allowed = [field.name for field in dataclasses.fields(Config)]
    added = [str(key) for key in cfg if key not in allowed]
    if not added:
        return
    texts = [text for _, text in texts_of(OmegaConf.to_container(cfg, resolve=False))]
    for name in added:
        read = any(re.search(rf"\$\{{\.*{re.escape(name)}\b", text) for text in texts)
        problems.require(read, f"{shortened(name)}: no such option; allowed: {', '.join(allowed)}")


def check_texts(cfg: DictConfig, problems: Problems) -> None:
    """Note texts that are no name of anything: too long for one, or with control characters."""
    for place, text in texts_of(OmegaConf.to_container(cfg, resolve=False)):
        long_one = place not in PROSE and len(text) > LONGEST
        control = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text)
        if control or long_one or len(text) > LONGEST_PROSE:
            most = LONGEST_PROSE if place in PROSE else LONGEST
            problems.add(
                f"{shortened(place)}: {shortened(repr(text))}; allowed: at most {most:,} letters, "
                "and no control characters"
            )
        elif any(place.startswith(name) for name in PLACES) and (
            name := next((part for part in text.split("/") if len(part.encode()) > 255), None)
        ):
            problems.add(
                f"{place}: {shortened(name)} is no name of a file or folder, which has at most "
                "255 bytes"
            )


LONGEST, LONGEST_PROSE = 4_000, 100_000
"""Letters of a text among the options, the second where somebody may write more than a name."""
PROSE = ("model.system_prompt", "tracker.notes")
PLACES = (
    *("model.path", "model.base", "model.tokenizer", "data.", "reference", "attack_before"),
    "attack.relearning.file",
)
"""Options that name files and folders."""


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
