"""The rooms of docs/architecture.md are those of the package, and no arrow points upwards."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "unlearn"
LONGEST = 80
"""Lines of a function, its docstring included."""


def rooms() -> list[str]:
    """The rooms in the order of the page's table, from the top down."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name, parsed; conf/ holds YAML."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] != "conf":
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def imports(tree: ast.Module) -> Iterator[str]:
    """The modules of this package that a module imports, those inside of functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "unlearn":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "unlearn")


def room_of(module: str) -> str | None:
    """The room of a module; None for what stands in the package's root."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else None


def test_the_table_names_every_room_once() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert sorted(rooms()) == sorted(folders - {"conf"})


def test_the_root_holds_three_files() -> None:
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files == {"__init__.py", "__main__.py", "errors.py"}


def upward() -> list[str]:
    order, found = rooms(), []
    for module, tree in MODULES.items():
        room = room_of(module)
        for imported in imports(tree) if room else ():
            other = room_of(imported)
            if other and order.index(other) < order.index(str(room)):
                found.append(f"{module} imports {imported}")
    return found


def test_no_arrow_points_upwards() -> None:
    assert upward() == []


def test_an_arrow_that_points_upwards_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    late = ast.parse("def f() -> None:\n    from unlearn.commands import run\n")
    monkeypatch.setitem(MODULES, "unlearn.metrics.text", late)
    assert upward() == ["unlearn.metrics.text imports unlearn.commands.run"]


def test_no_two_modules_import_each_other() -> None:
    graph = {name: set(imports(tree)) - {name} for name, tree in MODULES.items()}
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> None:
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for other in sorted(graph.get(name, ())):
            # A package's __init__ gathers its modules; they may import their siblings by name.
            if not name.startswith(f"{other}."):
                visit(other)
        done.add(path.pop())

    for name in graph:
        visit(name)


def test_only_two_rooms_know_hydra() -> None:
    allowed = {"commands", "composition"}
    builders = {"unlearn.options.parts"}  # the one place that calls Hydra's `instantiate`
    knowing = {
        module
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hydra")
        or (isinstance(node, ast.Import) and any(a.name.startswith("hydra") for a in node.names))
    }
    assert {m for m in knowing if room_of(m) not in allowed} <= builders


def test_no_file_name_means_two_things() -> None:
    """Rooms may each have a base or an __init__; any other name stands in one room only."""
    shared = {"__init__", "base"}
    places: dict[str, set[str]] = {}
    for module in MODULES:
        room, name = room_of(module), module.split(".")[-1]
        if room and name not in shared and name != room:
            places.setdefault(name, set()).add(room)
    allowed = {
        "muse": {"data", "metrics"},  # the benchmark: its reader, and its metrics
        "tofu": {"data", "metrics"},
        "run": {"commands", "experiment"},  # the door, and what it opens
    }
    assert {name: found for name, found in places.items() if len(found) > 1} == {
        name: found for name, found in allowed.items() if name in places
    }


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                yield f"{module}.{node.name}", node


def test_no_function_is_long() -> None:
    long = {
        name: node.end_lineno - node.lineno + 1
        for name, node in functions()
        if node.end_lineno and node.end_lineno - node.lineno >= LONGEST
    }
    assert long == {}


def test_more_than_six_parameters_have_a_reason() -> None:
    """Whoever takes seven says so in the docstring, with why."""
    unexplained = []
    for name, node in functions():
        arguments = [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
        count = len([a for a in arguments if a not in ("self", "cls")])
        if count > 6 and "parameters" not in (ast.get_docstring(node) or ""):
            unexplained.append(f"{name}: {count}")
    assert unexplained == []


def test_no_model_is_any() -> None:
    """A model is a LanguageModel (compute/model.py) wherever it is handed over."""
    untyped = [
        f"{name}({argument.arg})"
        for name, node in functions()
        for argument in (*node.args.args, *node.args.kwonlyargs)
        if argument.arg in ("model", "saved")
        and isinstance(argument.annotation, ast.Name)
        and argument.annotation.id == "Any"
    ]
    assert untyped == []
