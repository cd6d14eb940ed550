"""Write what the parts declare of themselves: their YAML files, and the option tables of docs/.

    make conf        # or: python docs/conf_from_parts.py

A part is a class; its fields are its options (unlearn/options/declared.py), the docstring below a
field says what it means, that of the module what the part is. A YAML file of conf/ names the class
by `_target_`, and everything else in it is written here. So a new part of the package needs a file
with that one line. Presets of TorchJD's classes are written by hand: their options are not ours.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from unlearn.composition.register import register
from unlearn.options.declared import Declared, range_of
from unlearn.options.parts import locate
from unlearn.weightings import TorchJDWeighting

ROOT = Path(__file__).parents[1]
WIDTH = 100
LISTS = ("attack", "method/interventions")
"""Groups of which any number may be chosen: the name of a file stands above its node."""
GROUPS = ("method/forget", "method/retain", "method/weighting", "scheduler", *LISTS)
PAGES = ("docs/methods.md", "docs/attacks.md")
CELL = "options: default, range"
TORCHJD = {
    "options.beta": "0 to 1",
    "options.norm_eps": "0 or more, not checked",
    "options.c": "0 or more",
    "options.alpha": "0 or more, not checked",
    "options.scale_mode": "min, median or rmse",
    "options.projector.reg_eps": "0 or more",
}
"""What TorchJD's classes allow; each is read by one of them only."""


def target_in(path: Path) -> str:
    """Return the class that a YAML file names."""
    (target,) = re.findall(r"^\s*_target_: (\S+)$", path.read_text("utf-8"), re.MULTILINE)
    return target


@cache
def parts() -> list[tuple[str, Path, type[Declared]]]:
    """Return group, file and class of every part that has a file."""
    paths = [(group, path) for group in GROUPS for path in (ROOT / "conf" / group).glob("*.yaml")]
    return [(group, path, locate(target_in(path))) for group, path in sorted(paths)]


def flat(text: str | None) -> str:
    return " ".join((text or "").split())


def meanings(kind: type) -> dict[str, str]:
    """Return the docstring below each field, those of its bases included."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("unlearn."):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            assert isinstance(tree, ast.ClassDef)
            for one, below in zip(tree.body, tree.body[1:], strict=False):
                if isinstance(one, ast.AnnAssign) and isinstance(below, ast.Expr):
                    assert isinstance(one.target, ast.Name)
                    found[one.target.id] = flat(ast.literal_eval(below.value))
    return found


def default_of(field: dataclasses.Field[Any]) -> Any:
    """Return the default as YAML has it: another node's value where the part declares one."""
    if conf := field.metadata.get("conf"):
        return conf
    default = field.default
    if default is dataclasses.MISSING:
        assert field.default_factory is not dataclasses.MISSING
        default = field.default_factory()
    return default.value if isinstance(default, Enum) else default


def in_yaml(value: Any) -> str:
    if isinstance(value, str) and not value.startswith("${") and not reads_as(value):
        return f'"{value}"'
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def reads_as(text: str) -> bool:
    """Return whether YAML reads the text, unquoted, as this very text."""
    try:
        return bool(yaml.safe_load(text) == text)
    except yaml.YAMLError:
        return False


def summary(kind: type) -> str:
    """Return what a part is: its module's docstring, or its own where a module holds several."""
    module = sys.modules[kind.__module__]
    siblings = {one for _, _, one in parts() if one.__module__ == kind.__module__}
    return flat(module.__doc__ if len(siblings) == 1 else kind.__doc__)


def yaml_of(group: str, name: str, kind: type[Declared], target: str) -> str:
    """Return the YAML file of a part."""
    chosen = f"{group}=[{name}]" if group in LISTS else f"{group}={name}"
    header = textwrap.wrap(f"{summary(kind)} Needs {kind.needs}.", WIDTH - 2)
    examples = [f"    unlearn {chosen} {example}".rstrip() for example in kind.examples]
    body = [f"_target_: {target}"]
    described = meanings(kind)
    for field in dataclasses.fields(kind):
        allowed = range_of(field)
        says = described[field.name] + (f" Allowed: {allowed.words}." if allowed else "")
        line = f"{field.name}: {in_yaml(default_of(field))}"
        if len(line) + len(says) + 6 <= WIDTH:
            body.append(f"{line}  # {says}")
        else:
            body += [f"# {part}" for part in textwrap.wrap(says, WIDTH - 4)] + [line]
    if group in LISTS:
        body = [f"{name}:", *(f"  {line}" for line in body)]
    return "\n".join([*(f"# {line}" for line in header + examples), *body]) + "\n"


@cache
def files() -> dict[Path, str]:
    """Return the text of every YAML file that is written here."""
    return {
        path: yaml_of(group, path.stem, kind, target_in(path))
        for group, path, kind in parts()
        if kind is not TorchJDWeighting
    }


def options_of(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield `name=default` and range of every option of a composed part."""
    kind = locate(node._target_)
    ranges = {field.name: range_of(field) for field in dataclasses.fields(kind)}
    written = OmegaConf.to_container(node, resolve=False)
    assert isinstance(written, dict)
    if "retain_share" in written:  # the preset's, or ½: shown as what it is
        written["retain_share"] = node.retain_share
    if kind is TorchJDWeighting:  # which class it is stands in the preset's name
        written = {"options": written.get("options", {})}
    for name, value in _leaves(written):
        if name != "_target_":
            shown = f"{value:.4g}" if isinstance(value, float) else in_yaml(value)
            allowed = ranges.get(name)
            yield f"`{prefix}{name}={shown}` {allowed.words if allowed else TORCHJD[name]}"


def _leaves(options: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def composed(name: str, *overrides: str) -> DictConfig:
    """Return a file of conf/, such as attack/relearning, with what its own defaults add."""
    register()
    with initialize_config_module("unlearn.conf", version_base="1.3"):
        return compose(name, overrides=list(overrides))


def cell_of(heading: str, name: str) -> str:
    """Return the cell of options in the row `name` of a table that begins with `heading`."""
    group = heading.strip("`=")
    if group == "method":
        method = composed("config", f"method={name}").method
        told = [
            option
            for part in ("forget", "retain", "weighting")
            for option in options_of(method[part], f"{part}.")
        ]
    elif group in LISTS:
        place = f"{group.replace('/', '.')}.{name}"
        node = OmegaConf.select(composed(f"{group}/{name}"), place)
        told = list(options_of(node))
        kind = locate(node._target_)
        if group == "attack" and not told and kind.needs != "nothing":  # it has no column for that
            told = [f"–; needs {kind.needs}"]
    else:
        text = OmegaConf.load(ROOT / "conf" / group / f"{name}.yaml")
        node = OmegaConf.create({"retain_share": 0.5, "part": text}).part
        told = list(options_of(node))
    return "; ".join(told) or "–"


def page(path: Path) -> str:
    """Return a page of docs/ with the cells of options anew, everything else as it is."""
    lines = path.read_text("utf-8").splitlines()
    heads: list[str] = []
    for number, line in enumerate(lines):
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if not cells:
            heads = []
        elif not heads:
            heads = cells
        elif CELL in heads and cells[0].startswith("`"):
            cells[heads.index(CELL)] = cell_of(heads[0], cells[0].strip("`"))
            lines[number] = "| " + " | ".join(cells) + " |"
    return "\n".join(lines) + "\n"


def paths() -> list[Path]:
    """Return everything that is written here."""
    return [*files(), *(ROOT / name for name in PAGES)]


def text_of(path: Path) -> str:
    """Return what one of :func:`paths` has to hold."""
    written = files()
    return written[path] if path in written else page(path)


def main() -> None:
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
    for name in PAGES:  # the tables are of the files as they are now
        (ROOT / name).write_text(page(ROOT / name), encoding="utf-8")


if __name__ == "__main__":
    main()
