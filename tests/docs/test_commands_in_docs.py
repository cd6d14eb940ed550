"""Every `unlearn` command that README, docs and configurations print can be composed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from support.pages import ROOT, commands, overrides_of, values_of

from benchmarks.methods import method_names
from unlearn.composition.register import register

EXPERIMENTS = sorted((ROOT / "conf" / "experiment").glob("*.yaml"))


def to_compose() -> list[str]:
    """Return one command of those that ask for the same.

    What is only a preset or a command of docs/methods.md is composed, and its method built, by
    test_docs_methods; what is only an experiment, below.
    """
    asked = {
        tuple(sorted(overrides_of(command))): command
        for page, command in sorted(commands())
        if page != "docs/methods.md"
    }
    alone = [(f"method={name}",) for name in method_names()]
    alone += [(f"experiment={path.stem}",) for path in EXPERIMENTS]
    return sorted(command for words, command in asked.items() if words not in alone)


@pytest.mark.slow
@pytest.mark.parametrize("command", to_compose())
def test_the_command_composes(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNLEARN_TOFU_PATH", raising=False)
    register()
    with initialize_config_module("unlearn.conf", version_base="1.3"):
        cfg = compose("config", overrides=overrides_of(command))
    assert cfg.seed is not None


def test_there_are_commands_to_test() -> None:
    assert len(to_compose()) > 30


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_composes(path: Path) -> None:
    register()
    with initialize_config_module("unlearn.conf", version_base="1.3"):
        cfg = compose("config", overrides=[f"experiment={path.stem}"], return_hydra_config=True)
        swept = cfg.hydra.sweeper.params
        choices = [list(values_of(f"{name}={values}")) for name, values in swept.items()]
        # As many jobs as the longest list has values: every value is in one of them.
        for job in range(max(map(len, choices), default=0)):
            chosen = [values[job % len(values)] for values in choices]
            compose("config", overrides=[f"experiment={path.stem}", *chosen])
