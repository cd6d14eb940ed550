"""Every `unlearn` command that README, docs and configurations print can be composed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep

from unlearn.composition.register import register

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "conf").rglob("*.yaml")),
]
FLAGS = {"-m", "--help"}


def commands() -> Iterator[tuple[str, str]]:
    """Yield (page, command) for every indented line that begins with `unlearn`."""
    for page in PAGES:
        joined = re.sub(r"\\\n#?\s*", "", page.read_text(encoding="utf-8"))
        for line in joined.splitlines():
            text = re.sub(r"^(\s{4}|#\s{3,})", "", line)
            if text != line and text.startswith("unlearn "):
                yield str(page.relative_to(ROOT)), text


def overrides_of(command: str) -> list[str]:
    """Return the overrides of a command, the first choice of each sweep."""
    words = [word for word in shlex.split(command, comments=True)[1:] if word not in FLAGS]
    return [next(values_of(word)) for word in words]


def values_of(word: str) -> Iterator[str]:
    """Yield the override for each value of a sweep, for both ends of an interval."""
    (override,) = OverridesParser.create().parse_overrides([word])
    value = override.value()
    if not override.is_sweep_override():
        yield word
    elif isinstance(value, IntervalSweep):
        yield from (f"{override.get_key_element()}={end}" for end in (value.start, value.end))
    else:
        yield from (f"{override.get_key_element()}={v}" for v in override.sweep_string_iterator())


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
