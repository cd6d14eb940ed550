"""docs/methods.md says what conf/method/ and the code say: parts, options, costs, signs."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from support.pages import Row, commands, overrides_of, tables
from support.shapes import DEPTH, SHAPE
from torch import Tensor

from benchmarks.methods import (
    ALTERNATIVES,
    INTERVENTIONS,
    Workbench,
    build_method,
    ideal,
    method_names,
)
from unlearn.composition.register import register
from unlearn.experiment.settings import method_of
from unlearn.objectives import Objective
from unlearn.options.parts import Problems, locate, part
from unlearn.schedulers import Constant
from unlearn.weightings import TorchJDWeighting, Weighting

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "methods.md"
CONF = ROOT / "conf" / "method"
GROUPS = {"forget": Objective, "retain": Objective, "weighting": Weighting}
SEED = 3
"""What `${seed}` stands for here."""
RANGES: dict[str, tuple[list[Any], list[Any]]] = {
    "above 0": ([1e-6, 50.0], [0.0, -1.0, math.nan]),
    "above 0 up to 1": ([1e-6, 1.0], [0.0, 1.1, math.nan]),
    "above 0, up to 1e30": ([1.0, 1e30], [0.0, 1e31]),
    "0 or more": ([0.0, 3.0], [-0.1, math.nan]),
    "0 or more, not checked": ([0.0, 3.0], []),
    "0 to 1": ([0.0, 0.3, 1.0], [-0.1, 1.1, math.nan]),
    "0 to `most`": ([0.0, 100.0], [-0.1, 100.1]),
    "0 up to 2^63 - 1": ([0, 2**63 - 1], [-1, 2**63]),
    "1 or more": ([1, 9], [0, -1]),
    "1e-30 or more": ([1e-30, 7.0], [9e-31, math.inf]),
    "any finite number": ([-4.5, 0.0, 9.0], [math.inf, math.nan]),
    "any finite number, or null": ([-4.5, 0.0, None], [math.inf, math.nan]),
    "any whole number": ([-7, 0, 12], [0.5, "some"]),
    "null, or 1 to the model's depth": ([1, 40, None], [0, -1, 1.5]),
    "auto, reference, holdout, or a number above 0 (nats a token)": (
        ["reference", "holdout", 3.5],
        ["target", 0, -1.0, None],
    ),
    "min, median or rmse": (["min", "median", "rmse"], ["max"]),
    "total_variation, kl, jensen_shannon or pearson": (["kl", "pearson"], ["hellinger"]),
    "true or false": ([True, False], ["perhaps"]),
    "neuron or weight": (["neuron", "weight"], ["row"]),
    "a file, required": ([], [None, "no/such/file.jsonl"]),
    "a column's name": ([], ["no such column"]),
}
"""Every range that the page may give an option, as values inside (besides the default) and outside.

The model's depth is not known to an objective yet; experiment/test_methods.py looks at that end.
"""
NEEDS = (".[solvers]", "second copy", "retain-only model")


@cache
def rows_of(group: str) -> dict[str, Row]:
    """Return the rows of all tables whose first column is `group`, by name; no name twice."""
    rows = [row for table in tables(PAGE.read_text("utf-8")) for row in table if group in row]
    found = {row[group].strip("`"): row for row in rows}
    assert len(found) == len(rows), f"a name with two rows under {group}"
    return found


def presets() -> dict[str, Row]:
    return rows_of("`method=`")


def parts(group: str) -> dict[str, Row]:
    return rows_of(f"`method/{group}=`")


def options_in(row: Row) -> dict[str, tuple[str, str]]:
    """Return the default and the range of each option that a row names."""
    cell = row["options: default, range"]
    if cell == "–":
        return {}
    found = [re.fullmatch(r"`([\w.]+)=(\S+)` (.+)", option) for option in cell.split("; ")]
    assert all(found), f"no option of the form `name=default` range: {cell}"
    named = {match[1]: (match[2], match[3]) for match in found if match}
    assert len(named) == len(found), f"an option twice: {cell}"
    return named


def header(path: Path) -> str:
    """Return the comment that begins a configuration, on one line."""
    lines = path.read_text("utf-8").splitlines()
    return " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))


def composed(*overrides: str) -> DictConfig:
    register()
    with initialize_config_module("unlearn.conf", version_base="1.3"):
        return compose("config", overrides=list(overrides), return_hydra_config=True)


def options_of(node: DictConfig) -> dict[str, Any]:
    """Return the options of a part with their defaults, as dotted names; of values that stand
    elsewhere only the share is looked up."""
    kind = locate(node._target_)
    found = {f.name: f.default for f in dataclasses.fields(kind) if f.init}
    written = OmegaConf.to_container(node, resolve=False)
    assert isinstance(written, dict)
    found |= {str(key): value for key, value in written.items() if key != "_target_"}
    if "retain_share" in found:
        found["retain_share"] = node.retain_share
    if kind is TorchJDWeighting:  # which class it is, and a switch that the page's notes explain
        del found["kind"], found["rescale"]
    return dict(_flat(found))


def _flat(options: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def same(shown: str, value: Any) -> bool:
    """Whether the page shows this value; of a share like 8/9 four digits are enough."""
    read = OmegaConf.to_container(OmegaConf.create(f"value: {shown}"), resolve=False)
    assert isinstance(read, dict)
    if isinstance(value, float) and isinstance(read["value"], int | float):
        return math.isclose(read["value"], value, rel_tol=1e-4)
    return read["value"] == value and isinstance(read["value"], type(value))


def arxiv(text: str) -> set[str]:
    return set(re.findall(r"\b\d{4}\.\d{5}\b", text))


# Presets


def test_every_preset_has_a_row_and_every_row_a_preset() -> None:
    assert sorted(presets()) == method_names()
    assert "`method=none`" in PAGE.read_text("utf-8")


@pytest.mark.parametrize("name", method_names())
def test_a_preset_has_the_parts_options_and_command_of_its_configuration(name: str) -> None:
    row, cfg = presets()[name], composed(f"method={name}")
    chosen = [cfg.hydra.runtime.choices[f"method/{group}"] for group in GROUPS]
    assert row["parts"] == " × ".join(chosen)

    expected = {
        f"{group}.{option}": value
        for group in GROUPS
        for option, value in options_of(cfg.method[group]).items()
    }
    told = options_in(row)
    assert told.keys() == expected.keys()
    for option, (default, _) in told.items():
        assert same(default, expected[option]), option

    (command,) = re.findall(r"unlearn method=[^`]*$", header(CONF / f"{name}.yaml"))
    assert row["command"] == f"`{command}`"


@pytest.mark.parametrize("name", method_names())
def test_a_preset_gives_each_option_the_range_that_its_part_gives(name: str) -> None:
    row = presets()[name]
    of_group = dict(zip(GROUPS, row["parts"].split(" × "), strict=True))
    for option, (_, allowed) in options_in(row).items():
        group, _, rest = option.partition(".")
        assert allowed == options_in(parts(group)[of_group[group]])[rest][1], option


@pytest.mark.parametrize("name", method_names())
def test_a_preset_cites_what_its_configuration_cites(name: str) -> None:
    cited = arxiv(presets()[name]["source"])
    assert cited >= arxiv(header(CONF / f"{name}.yaml"))
    assert presets()[name]["source"]


def test_the_page_cites_no_paper_that_the_code_does_not_name() -> None:
    sources = [*(ROOT / "unlearn").rglob("*.py"), *CONF.rglob("*.yaml"), ROOT / "README.md"]
    named = arxiv(" ".join(path.read_text("utf-8") for path in sources))
    assert len(arxiv(PAGE.read_text("utf-8"))) > 15
    assert arxiv(PAGE.read_text("utf-8")) <= named
    for text, linked in re.findall(
        r"\[([\d.]+)\]\(https://arxiv\.org/abs/(.+?)\)", PAGE.read_text()
    ):
        assert text == linked


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(SHAPE, torch.device("cpu"), tmp_path_factory.mktemp("work"))


@pytest.mark.parametrize("name", method_names())
def test_a_preset_costs_what_its_mathematics_asks_for(work: Workbench, name: str) -> None:
    method = build_method(name, work.alternatives)
    work.trainer(method, Constant())  # rmu takes its layer from the model
    cost = f"{ideal(name, method, DEPTH):.2f}".rstrip("0").rstrip(".")
    assert presets()[name]["step, F"] == cost


def test_the_page_says_how_deep_a_model_it_counted() -> None:
    assert f"in a model of {DEPTH} layers" in PAGE.read_text("utf-8")


# Parts


@pytest.mark.parametrize("group", GROUPS)
def test_every_part_has_a_row_and_every_row_a_part(group: str) -> None:
    assert sorted(parts(group)) == sorted(path.stem for path in (CONF / group).glob("*.yaml"))


PARTS = [(group, name) for group in GROUPS for name in sorted(parts(group))]


def loaded(group: str, name: str) -> DictConfig:
    """Return the configuration of a part, below a root with the run's seed."""
    part_itself = OmegaConf.load(CONF / group / f"{name}.yaml")
    rest = {"seed": SEED, "retain_share": 0.5, "model": {"fine_tuning": {"lr": 1e-3}}}
    root = OmegaConf.create({**rest, group: part_itself})
    return root[group]


@pytest.mark.parametrize(("group", "name"), PARTS)
def test_a_part_has_the_options_of_its_configuration(group: str, name: str) -> None:
    told, expected = options_in(parts(group)[name]), options_of(loaded(group, name))
    assert told.keys() == expected.keys()
    for option, (default, _) in told.items():
        assert same(default, expected[option]), option


@pytest.mark.parametrize(("group", "name"), PARTS)
def test_a_part_needs_what_its_configuration_says(group: str, name: str) -> None:
    said = header(CONF / group / f"{name}.yaml")
    for need in NEEDS:
        assert (need in parts(group)[name]["needs"]) == (need in said), need


def built(group: str, name: str, work: Workbench, **options: Any) -> tuple[Any, list[str]]:
    """Return the part with these options, and what was wrong with them."""
    node = loaded(group, name)
    if name in ALTERNATIVES:
        node.alternatives = str(work.alternatives)
    for option, value in options.items():
        OmegaConf.update(node, option, value)
    problems = Problems()
    return problems.build(f"method.{group}", part(GROUPS[group]), node), problems.found


def skip_without_solvers(row: Row) -> None:
    if "solvers" in row["needs"] and not (find_spec("cvxpy") and find_spec("quadprog")):
        pytest.skip("needs pip install -e '.[solvers]'")


@pytest.mark.parametrize(("group", "name"), PARTS)
def test_the_ranges_are_those_that_the_code_allows(work: Workbench, group: str, name: str) -> None:
    skip_without_solvers(parts(group)[name])
    assert built(group, name, work)[1] == []
    for option, (_, allowed) in options_in(parts(group)[name]).items():
        inside, outside = RANGES[allowed]
        for value in inside:
            assert built(group, name, work, **{option: value})[1] == [], (option, value)
        for value in outside:
            _, problems = built(group, name, work, **{option: value})
            last = option.rpartition(".")[2]
            assert any(last in problem for problem in problems), (option, value, problems)


# Interventions


def interventions() -> dict[str, Row]:
    return rows_of("`method/interventions=`")


@cache
def intervened(name: str) -> DictConfig:
    return composed(f"method/interventions=[{name}]")


def chosen(name: str, **options: Any) -> tuple[DictConfig, list[str]]:
    """Return the configuration of an intervention with these options, and what is wrong with it."""
    cfg, problems = copy.deepcopy(intervened(name)), Problems()
    for key, value in options.items():
        OmegaConf.update(cfg, f"method.interventions.{name}.{key}", value)
    method_of(cfg, problems)
    return cfg.method.interventions[name], problems.found


def test_every_intervention_has_a_row_and_every_row_an_intervention() -> None:
    files = sorted(path.stem for path in (CONF / "interventions").glob("*.yaml"))
    assert sorted(interventions()) == files == sorted(INTERVENTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("name", INTERVENTIONS)
def test_an_intervention_is_as_its_row_says(name: str) -> None:
    row, node = interventions()[name], chosen(name)[0]
    told, expected = options_in(row), options_of(node)
    assert told.keys() == expected.keys()
    for option, (default, allowed) in told.items():
        assert same(default, expected[option]), option
        inside, outside = RANGES[allowed]
        for value in inside:
            assert chosen(name, **{option: value})[1] == [], (option, value)
        for value in outside:
            assert any(option in problem for problem in chosen(name, **{option: value})[1]), value
    assert int(row["a step more, F"]) == INTERVENTIONS[name]
    doc = locate(node._target_).__doc__
    assert arxiv(row["source"]) == arxiv(doc)


# What the table of weightings says of directions

LOSSES = torch.tensor([0.5, -2.0], dtype=torch.float64)
"""As ascent has them: the forget loss is minus an NLL."""


SOLVED = ("fairgrad", "upgrad", "dualproj")
"""Solved numerically, of which the page says that far apart a sign may be lost."""


def gramians(decades: float, count: int = 200) -> list[Tensor]:
    """Gramians of random gradients, often in conflict, with norms so many decades apart at most."""
    generator = torch.Generator().manual_seed(4)
    found = []
    for number in range(count):
        vectors = torch.randn(2, 2 + number % 6, dtype=torch.float64, generator=generator)
        norms = 10 ** (decades * torch.rand(2, 1, dtype=torch.float64, generator=generator))
        vectors = vectors / vectors.norm(dim=1, keepdim=True) * norms
        found.append(vectors @ vectors.T)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(parts("weighting")))
def test_a_weighting_keeps_both_signs_where_the_page_says_so(work: Workbench, name: str) -> None:
    row = parts("weighting")[name]
    skip_without_solvers(row)
    weighting, worst = built("weighting", name, work)[0], math.inf
    for gramian in gramians(2 if name in SOLVED else 4):
        w = torch.tensor(weighting(gramian, LOSSES), dtype=torch.float64)
        length = (w @ gramian @ w).clamp(min=0).sqrt()
        if length > 0:  # the cosine of d with the gradient that it serves worse
            cosines = (gramian @ w) / gramian.diagonal().sqrt() / length
            worst = min(worst, cosines.min().item())
    answer = row["keeps both signs"].partition(",")[0]
    assert answer == ("yes" if worst >= -1e-5 else "no"), worst


@pytest.mark.parametrize("name", sorted(parts("weighting")))
def test_a_direction_turns_with_the_scale_of_a_loss_where_the_page_says_so(
    work: Workbench, name: str
) -> None:
    row = parts("weighting")[name]
    skip_without_solvers(row)
    gramian = torch.tensor([[4.0, -3.0], [-3.0, 9.0]], dtype=torch.float64)
    w = torch.tensor(built("weighting", name, work)[0](gramian, LOSSES), dtype=torch.float64)
    found = set()
    for scales in ([1.0, 100.0], [100.0, 1.0]):
        scale = torch.tensor(scales, dtype=torch.float64)
        weights = built("weighting", name, work)[0](gramian * scale.outer(scale), LOSSES * scale)
        v = torch.tensor(weights, dtype=torch.float64) * scale  # on the gradients as they were
        lengths = (w @ gramian @ w).sqrt(), (v @ gramian @ v).sqrt()
        if (w @ gramian @ v) / (lengths[0] * lengths[1]) < 0.99:
            found.add("turns")
        elif torch.isclose(*lengths):
            found.add("stays")
        else:
            found.add("changes its length")
    assert found == set(row["when one loss grows"].split(" or "))


# Examples

EXAMPLES = sorted({command for page, command in commands() if page == "docs/methods.md"})


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 5


@pytest.mark.parametrize("command", EXAMPLES)
def test_an_example_builds_its_method(command: str) -> None:
    problems = Problems()
    assert method_of(composed(*overrides_of(command)), problems) is not None, problems.found
    assert problems.found == []


@cache
def mixed(preset: str, weighting: str) -> DictConfig:
    return composed(f"method={preset}", f"method/weighting={weighting}")


@pytest.mark.slow
@pytest.mark.parametrize("weighting", sorted(parts("weighting")))
def test_any_preset_takes_any_weighting(weighting: str) -> None:
    """Each weighting is chosen once, and put into presets of which each takes another."""
    node = mixed("ngdiff", weighting).method.weighting
    for preset in ("npo", "simnpo", "undial", "rmu", "linear", "ngdiff"):
        problems, cfg = Problems(), copy.deepcopy(mixed(preset, "pcgrad"))
        cfg.method.weighting = node
        assert method_of(cfg, problems) is not None, (preset, problems.found)


def test_the_method_of_ones_own_works_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PAGE.read_text("utf-8")
    (code,) = re.findall(r"in `mine/damped\.py`:\n\n```python\n(.*?)```", text, flags=re.DOTALL)
    (yaml,) = re.findall(r"`mine/method/damped\.yaml`:\n\n```yaml\n(.*?)```", text, flags=re.DOTALL)
    ((folder, words),) = re.findall(r"`PYTHONPATH=mine unlearn --config-dir (\S+) (.*?)`", text)
    assert folder == "mine"
    (tmp_path / "method").mkdir()
    (tmp_path / "damped.py").write_text(code, encoding="utf-8")
    (tmp_path / "method" / "damped.yaml").write_text(yaml, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    problems = Problems()
    cfg = composed(*words.split(), f"hydra.searchpath=[file://{tmp_path}]")
    method = method_of(cfg, problems)
    assert problems.found == []
    assert method is not None
    gramian = torch.tensor([[4.0, -1.0], [-1.0, 0.0]], dtype=torch.float64)
    assert method.weighting(gramian, LOSSES) == pytest.approx((1 / 2.01, 1 / 0.01))
