"""What attacks found in models that many runs share, kept from one run to the next.

Every run of a sweep attacks the same reference with the same seed, and some attacks look at the
model before unlearning as well. An entry is named by all that this depends on: both models, every
row, what is asked of them, the device and precision, and the attack with its options.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn.storage.cache import entry_of, once
from unlearn.storage.files import write_json_atomic
from unlearn.storage.sealed import sealed_folder

log = logging.getLogger(__name__)

FORMAT = 1
"""Raised whenever an attack of ours changes its results."""


@dataclass(frozen=True)
class Findings:
    """The findings about one pair of models, on one set of rows."""

    made_of: tuple[str, ...]
    """All that can change a finding besides the attack."""

    def once(self, attack: str, what: str, find: Callable[[], Any]) -> Any:
        """Return `find()`, which JSON must hold, from the cache where it is there.

        `attack` names it with its options, `what` what it looks for. None is not kept.
        """

        def read(folder: Path) -> Any:
            found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
            log.info(
                "%s, %s: found by an earlier run, in the cache", attack.partition("(")[0], what
            )
            return found

        def make(folder: Path) -> Any:
            if (found := find()) is not None:
                with sealed_folder(folder) as unfinished:
                    write_json_atomic(unfinished / "found.json", found)
            return found

        return once(
            entry_of("attacks", json.dumps([FORMAT, *self.made_of, attack, what])),
            f"{attack}: {what}",
            read,
            make,
            unkept=find,
        )
