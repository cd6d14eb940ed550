"""docs/attacks.md says what conf/attack/ and the code say, and its example runs."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from support.command import QUICK, Command
from support.pages import tables

from unlearn.attacks import Attack
from unlearn.composition.register import register
from unlearn.options.parts import locate, part

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "attacks.md").read_text("utf-8")
NAMES = sorted(path.stem for path in (ROOT / "conf" / "attack").glob("*.yaml"))
ROWS = {row["`attack=`"].strip("`"): row for table in tables(PAGE) for row in table if "x" in row}
OPTIONS = "options: default, range"
every_attack = pytest.mark.parametrize("name", NAMES)


def composed(name: str) -> DictConfig:
    register()
    with initialize_config_module("unlearn.conf", version_base="1.3"):
        return compose("config", overrides=[f"attack=[{name}]", "seed=3"])


@pytest.mark.slow
def test_every_attack_has_its_row_and_is_sent_with_its_own_name() -> None:
    assert sorted(ROWS) == NAMES
    for name in NAMES:
        assert list(composed(name).attack) == [name]


@every_attack
def test_options_and_their_defaults(name: str) -> None:
    node = composed(name).attack[name]
    written = yaml.safe_load((ROOT / "conf" / "attack" / f"{name}.yaml").read_text())[name]
    told = dict(re.findall(r"`(\w+)=([^`]+)`", ROWS[name][OPTIONS]))
    fields = dataclasses.fields(locate(node._target_))
    assert list(told) == [field.name for field in fields] == [k for k in written if k[0] != "_"]
    assert {key: yaml.safe_load(text) for key, text in told.items()} == {
        key: value for key, value in written.items() if key != "_target_"
    }


@every_attack
def test_details(name: str) -> None:
    made: Attack = part(Attack)(composed(name).attack[name])
    cell = re.sub(r"\([^)]*\)", "", ROWS[name]["details `attack/NAME_…`"])
    told = set(re.findall(r"`(\w+)`", cell))
    assert {
        re.sub(r"(step_|int|at_|percent_)\d+", r"\1N", detail) for detail in made.names()
    } == told


def test_what_follows_the_run_is_resolved() -> None:
    node = OmegaConf.to_container(composed("relearning").attack.relearning, resolve=True)
    assert isinstance(node, dict)
    assert (node["seed"], node["lr"]) == (3, 3e-3)


@pytest.mark.slow
def test_the_example_runs(unlearn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    code, config = re.findall(r"```(?:python|yaml)\n(.*?)```", PAGE, flags=re.DOTALL)
    module = ModuleType("my_attacks")
    monkeypatch.setitem(sys.modules, "my_attacks", module)
    exec(compile(code, "docs/attacks.md", "exec", dont_inherit=True), module.__dict__)
    folder = unlearn.folder / "mine" / "attack"
    folder.mkdir(parents=True)
    (folder / "dropout.yaml").write_text(config)
    command = re.search(r"`unlearn (--config-dir mine .*?)`", PAGE)
    assert command is not None
    _, _, attack = command[1].split()
    done = unlearn("--config-dir=mine", *QUICK, attack)
    assert done.status == 0, done.said
    assert "failed" not in done.log
    assert 0 < done.summary["metrics"]["after"]["attack/dropout_probability"] < 1
