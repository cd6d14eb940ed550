"""Readers as a user writes them, outside the package; tests name them by `_target_`."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.data import Judged, Splits
from unlearn.data.minitofu import MiniTofu


@dataclass
class Hazards:
    """Questions that a model must no longer answer, under a name that tells nothing."""

    declared: bool = True

    def read(self) -> Splits:
        splits = MiniTofu(forget_rows=8, retain_rows=16).read()
        judged = {"wmdp_bio": Judged("forget")} if self.declared else {}
        evaluated = {"wmdp_bio": splits.forget, "retain": splits.evaluated["retain"]}
        return Splits("hazards", splits.forget, splits.retain, evaluated, judged=judged)
