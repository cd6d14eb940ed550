"""What was measured of one model, as it is kept in memory and in a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from unlearn.storage.files import whole_folder, write_json_atomic
from unlearn.storage.sealed import sealed_folder


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one model at one stage."""

    scores: pd.DataFrame
    generations: list[dict[str, Any]]
    metrics: dict[str, float | None]
    """Flat; null where a number is not finite."""
    ratios: dict[str, pd.Series]
    """Truth ratios of the forget rows by form, which a later stage is compared with."""
    notes: list[str]
    """What could not be measured, and why."""

    def write(self, folder: Path, sealed: bool = False) -> None:
        """Write scores.parquet, generations.jsonl and metrics.json; all of them or none."""
        with (sealed_folder if sealed else whole_folder)(folder) as unfinished:
            self.scores.to_parquet(unfinished / "scores.parquet")
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in self.generations]
            (unfinished / "generations.jsonl").write_text("".join(lines), encoding="utf-8")
            write_json_atomic(unfinished / "metrics.json", self.metrics)

    def write_metrics(self, folder: Path) -> None:
        """Write the metrics into a folder that :meth:`write` made, where they have become more."""
        write_json_atomic(folder / "metrics.json", self.metrics)


def read_tables(folder: Path) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return scores and generations as :meth:`Evaluation.write` left them."""
    scores = pd.read_parquet(folder / "scores.parquet")
    with (folder / "generations.jsonl").open(encoding="utf-8") as lines:
        return scores, [json.loads(line) for line in lines]
