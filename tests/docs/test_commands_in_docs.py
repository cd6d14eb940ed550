"""Every `unlearn` command that README, docs and configurations print can be composed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from support.pages import ROOT, commands, overrides_of, values_of

from unlearn.composition.register import register


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted({command for _, command in commands()}))
def test_the_command_composes(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNLEARN_TOFU_PATH", raising=False)
    register()
    with initialize_config_module("unlearn.conf", version_base="1.3"):
        cfg = compose("config", overrides=overrides_of(command))
    assert cfg.seed is not None


def test_there_are_commands_to_test() -> None:
    assert len({command for _, command in commands()}) > 30


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=str)
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
