"""Every experiment runs: two steps of its first job, on a toy model and toy data."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from support.command import QUICK, Command

from unlearn.composition.register import register

EXPERIMENTS = sorted((Path(__file__).parents[2] / "conf" / "experiment").glob("*.yaml"))
SHRUNK = ("model", "data", "training.steps")
"""What QUICK decides here: large models and real data have tests of their own."""
NEEDS = {"search": "hydra_plugins.hydra_optuna_sweeper"}


def first_of(override: Override) -> str:
    """Return the first value of a sweep, the lower end of an interval."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        return str(value.start)
    return next(override.sweep_string_iterator()) if override.is_sweep_override() else str(value)


def first_job(name: str) -> dict[str, str]:
    """Return the first value of everything that the experiment sweeps over, and what of its
    attacks has to be smaller on QUICK's rows."""
    register()
    with initialize_config_module("unlearn.conf", version_base="1.3"):
        cfg = compose("config", overrides=[f"experiment={name}"], return_hydra_config=True)
    words = [f"{option}={values}" for option, values in cfg.hydra.sweeper.params.items()]
    parsed = OverridesParser.create().parse_overrides(words)
    smaller = {"attack.relearning.rows": "2"} if "relearning" in cfg.attack else {}
    return {override.get_key_element(): first_of(override) for override in parsed} | smaller


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.stem for path in EXPERIMENTS])
def test_the_first_job_runs_two_steps(name: str, unlearn: Command) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    swept = {option: value for option, value in first_job(name).items() if option not in SHRUNK}
    words = [f"{option}={value}" for option, value in swept.items()]
    done = unlearn(
        f"experiment={name}", "hydra.mode=RUN", *words, "model=tiny", *QUICK, "training.steps=2"
    )
    assert done.status == 0, done.said
    assert len(done.steps) == 2
    summary = done.summary
    assert summary["status"] == "completed"
    for group in ("method", "scheduler"):
        if group in swept:
            assert summary[group]["name"] == swept[group]
    if "seed" in swept:
        assert summary["seed"] == int(swept["seed"])
    if "optimizer.lr" in swept:
        assert f"optimizer.lr={swept['optimizer.lr']}" in summary["overrides"]


def test_every_experiment_is_a_sweep_and_says_what_it_costs() -> None:
    for path in EXPERIMENTS:
        text = path.read_text(encoding="utf-8")
        header = text[
            : text.index("\ndefaults:") if "\ndefaults:" in text else text.index("\nhydra:")
        ]
        assert "mode: MULTIRUN" in text
        assert any(word in header for word in (" runs", " trials")), path.stem
        assert any(word in header for word in ("minute", "hour", " s each", "GPU hours")), path.stem
        assert f"unlearn experiment={path.stem}" in header
