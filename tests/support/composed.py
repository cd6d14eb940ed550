"""What Hydra composes of our own configuration, kept: it takes a fifth of a small run.

Which files are merged hangs on the choices of groups alone. What they make together is kept as a
pickle, of which a copy takes a hundredth of the time; options are set on that copy by Hydra. A
configuration with files of a user's own, which may change, is composed each time. The words of a
command line, which Hydra parses three times, are parsed once.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.defaults_list import Overrides, ResultDefault
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

PACKAGED = ("pkg://hydra.conf", "pkg://unlearn.conf", "structured://")
"""Sources that are the same all the time, but for what is stored in ConfigStore."""


class Composed:
    """Lists of defaults, and what they make together, by what they hang on."""

    def __init__(self) -> None:
        self._kept: dict[bytes, bytes] = {}

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        """Let Hydra ask here first, until the patch is undone."""
        make_list = defaults_list._create_defaults_list
        compose = ConfigLoaderImpl._compose_config_from_defaults_list
        store, parse = ConfigStore.store, OverridesParser.parse_rule

        def listed(
            repo: IConfigRepository, config_name: str | None, overrides: Overrides, **flags: bool
        ) -> Any:
            chosen = {k: v for k, v in vars(overrides).items() if k != "config_overrides"}

            def make() -> Any:
                found = make_list(repo, config_name, overrides, **flags)
                return found, {k: v for k, v in vars(overrides).items() if k in chosen}

            found, after = self._once(repo, (config_name, chosen, sorted(flags.items())), make)
            vars(overrides).update(after)
            return found

        def composed(
            self_: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository
        ) -> DictConfig:
            return self._once(repo, defaults, lambda: compose(self_, defaults, repo))

        def parsed(self_: OverridesParser, text: str, rule: str) -> Any:
            return self._copied((text, rule), lambda: parse(self_, text, rule))

        def stored(self_: ConfigStore, *given: Any, **named: Any) -> None:
            self._kept.clear()
            store(self_, *given, **named)

        patch.setattr(defaults_list, "_create_defaults_list", listed)
        patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", composed)
        patch.setattr(ConfigStore, "store", stored)
        patch.setattr(OverridesParser, "parse_rule", parsed)

    def _once(self, repo: IConfigRepository, asked: Any, make: Callable[[], Any]) -> Any:
        """Return what was made of these sources before; make it where they may have changed."""
        sources = [f"{source.scheme()}://{source.path}" for source in repo.get_sources()]
        return self._copied((sources, asked), make) if set(sources) <= set(PACKAGED) else make()

    def _copied(self, asked: Any, make: Callable[[], Any]) -> Any:
        """Return what was made for this before; every answer is a copy of its own."""
        key = pickle.dumps(asked)
        if key not in self._kept:
            self._kept[key] = pickle.dumps(make())
        return pickle.loads(self._kept[key])
